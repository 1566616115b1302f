"""Who is rung for which change, and when a run was last held."""

import asyncio

import pytest

from midstream.clock import ManualClock
from midstream_server.domain.record import Direction
from midstream_server.operations.hub import Hub, Watch
from midstream_server.store import Change


async def rung(watch: Watch) -> bool:
    """Whether the watch has rung since it was last asked."""
    waiting = asyncio.create_task(watch.wait())
    await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    return done


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


@pytest.fixture
def hub(clock: ManualClock) -> Hub:
    return Hub(clock)


@pytest.mark.parametrize(
    ("change", "rings"),
    [
        (Change(1, "a"), "a whole"),
        (Change(1, "b"), "b whole"),
        (Change(1, "c"), "whole"),
        (Change(1, None), "a b whole"),
        (Change(2, "a"), "other"),
        (Change(3, None), ""),
    ],
)
async def test_a_change_rings_who_watches_it(hub: Hub, change: Change, rings: str) -> None:
    with (
        hub.watching(1, "a") as a,
        hub.watching(1, "b") as b,
        hub.watching(1) as whole,
        hub.watching(2, "a") as other,
    ):
        hub.ring([change])
        watches = {"a": a, "b": b, "whole": whole, "other": other}
        assert " ".join([name for name, watch in watches.items() if await rung(watch)]) == rings


@pytest.mark.parametrize(
    ("change", "rings"),
    [
        (Change(1, "a"), "input inputs"),
        (Change(1, "a", Direction.OUTPUT), "output outputs"),
        (Change(1, "b", Direction.OUTPUT), "outputs"),
        (Change(1, None), "input inputs output outputs"),
    ],
)
async def test_a_stream_of_one_direction_rings_none_of_the_other(hub: Hub, change: Change, rings: str) -> None:
    with (
        hub.watching(1, "a") as of_input,
        hub.watching(1) as of_inputs,
        hub.watching(1, "a", Direction.OUTPUT) as of_output,
        hub.watching(1, None, Direction.OUTPUT) as of_outputs,
    ):
        hub.ring([change])
        watches = {"input": of_input, "inputs": of_inputs, "output": of_output, "outputs": of_outputs}
        assert " ".join([name for name, watch in watches.items() if await rung(watch)]) == rings


async def test_a_ring_before_the_wait_counts_once(hub: Hub) -> None:
    with hub.watching(1) as watch:
        hub.ring([Change(1, None)])
        hub.ring([Change(1, "s")])
        assert await rung(watch)
        assert not await rung(watch)
        hub.ring_all()
        assert await rung(watch)


async def test_nobody_is_rung_after_leaving_and_nothing_is_kept(hub: Hub) -> None:
    with pytest.raises(ZeroDivisionError), hub.watching(1) as watch:
        raise ZeroDivisionError
    hub.ring([Change(1, None)])
    assert not await rung(watch)
    with hub.watching(1) as first:
        with hub.watching(1) as second:
            pass
        hub.ring([Change(1, None)])
        assert await rung(first)
        assert not await rung(second)
    assert not hub._watches


async def test_a_run_is_held_until_its_last_holder_leaves(hub: Hub, clock: ManualClock) -> None:
    assert hub.last_held_us(1) is None
    with hub.holding(1):
        clock.advance(10)
        assert hub.last_held_us(1) == 1_010
        with hub.holding(1):
            clock.advance(10)
        clock.advance(10)
        assert hub.last_held_us(1) == 1_030
        assert hub.last_held_us(2) is None
    clock.advance(10)
    assert hub.last_held_us(1) == 1_030
    with hub.holding(1):
        assert hub.last_held_us(1) == 1_040


async def test_nothing_is_kept_of_a_run_that_has_ended(hub: Hub) -> None:
    with hub.holding(1):
        pass
    hub.forget(1)
    with hub.holding(2), hub.holding(2):
        hub.forget(2)
    hub.forget(3)
    assert hub.last_held_us(1) is hub.last_held_us(2) is None
    assert not hub._last_held_us
    assert not hub._ended
    assert not hub._holders
