"""The clock that tests move."""

import asyncio

import pytest

from midstream.clock import ManualClock


async def test_sleepers_wake_in_the_order_of_their_deadlines_and_see_the_new_time() -> None:
    clock = ManualClock(now_us=100)
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, us: int) -> None:
        await clock.sleep_until(us)
        woken.append((name, clock.now_us()))

    async with asyncio.TaskGroup() as group:
        for name, us in [("late", 300), ("early", 200), ("tie", 200), ("past", 50)]:
            group.create_task(sleeper(name, us))
        await asyncio.sleep(0)
        assert (clock.sleeper_count, clock.next_deadline_us) == (3, 200)
        clock.advance(200)
    assert woken == [("past", 300), ("early", 300), ("tie", 300), ("late", 300)]


async def test_nobody_wakes_early() -> None:
    clock = ManualClock(now_us=0)
    sleeping = asyncio.create_task(clock.sleep_until(10))
    await asyncio.sleep(0)
    clock.advance(9)
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.advance(1)
    await sleeping


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock(now_us=0)
    sleeping = asyncio.create_task(clock.sleep_until(10))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert (clock.sleeper_count, clock.next_deadline_us) == (0, None)


async def test_a_woken_sleeper_may_advance_the_clock_and_sleep_again() -> None:
    clock = ManualClock(now_us=0)
    seen: list[int] = []

    async def ticking() -> None:
        while len(seen) < 3:
            await clock.sleep_until(clock.now_us() + 10)
            seen.append(clock.now_us())
            clock.advance(10)

    ticks = asyncio.create_task(ticking())
    while not ticks.done():
        await asyncio.sleep(0)
        if clock.sleeper_count:
            clock.advance(10)
    assert seen == [10, 30, 50]


def test_time_does_not_go_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-1)
