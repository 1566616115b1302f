"""Timers come due by themselves, all that are due, and also after the store could not take one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from midstream.clock import ManualClock
from midstream_server.domain import errors
from midstream_server.domain.errors import Reason
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.run import Run, State
from midstream_server.operations.hub import Hub
from midstream_server.operations.pauses import Pauses
from midstream_server.operations.timekeeper import Timekeeper
from midstream_server.store import Fired
from midstream_server.store.sqlite import SqliteStore
from store.engines import NAMESPACE, create, ignore, refusal

PERIODS = Periods()
SECOND_US = 1_000_000
LEASE_US = 60 * SECOND_US


class Watched(SqliteStore):
    """Tells when a round of the timekeeper begins, and refuses what it is told to refuse."""

    def __init__(self, database: Path) -> None:
        super().__init__(database, limits=Limits(), periods=PERIODS, on_commit=ignore)
        self.refusals = 0
        self.rounds = asyncio.Semaphore(0)

    async def fire_due(self, *, now_us: int, last_held_us: Callable[[int], int | None], limit: int) -> list[Fired]:
        if self.refusals:
            self.refusals -= 1
            self.rounds.release()
            raise errors.store_unavailable("disk full")
        return await super().fire_due(now_us=now_us, last_held_us=last_held_us, limit=limit)

    async def next_due_us(self) -> int | None:
        self.rounds.release()
        return await super().next_due_us()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hub(clock: ManualClock) -> Hub:
    return Hub(clock)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Watched]:
    store = Watched(tmp_path / "midstream.db")
    yield store
    await store.close()


class FrozenMachine:
    """The system's clocks, which jump when a test says so."""

    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us * 1_000


@pytest.fixture
def machine() -> FrozenMachine:
    return FrozenMachine()


@pytest.fixture
def timekeeper(store: Watched, hub: Hub, clock: ManualClock, machine: FrozenMachine) -> Timekeeper:
    pauses = Pauses(LEASE_US // 2, clocks=[machine])
    expiry_us = PERIODS.unheld_expiry_us
    return Timekeeper(store, store.managed, hub, clock, pauses, lease_us=LEASE_US, unheld_expiry_us=expiry_us)


@pytest.fixture
async def running(timekeeper: Timekeeper, store: Watched) -> AsyncIterator[Timekeeper]:
    timekeeper.start()
    await store.rounds.acquire()
    yield timekeeper
    await timekeeper.stop()


async def rounds(store: Watched, count: int) -> None:
    """Where something is due, one round fires it and the next one finds nothing."""
    for _ in range(count):
        await store.rounds.acquire()


async def settle() -> None:
    """Lets what is ready run, up to its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def state_of(store: Watched) -> State:
    return (await store.get_run(NAMESPACE, "run")).state


async def make(store: Watched, clock: ManualClock, run_id: str = "run", *, seconds: int | None = None) -> Run:
    duration_us = None if seconds is None else seconds * SECOND_US
    return await create(store, run_id, max_duration_us=duration_us, now_us=clock.now_us())


async def test_a_timer_fires_when_it_is_due(running: Timekeeper, store: Watched, clock: ManualClock) -> None:
    run = await make(store, clock, seconds=5)
    running.timers_changed()
    await store.rounds.acquire()
    await settle()
    assert clock.next_deadline_us == run.deadline_us
    clock.advance(5 * SECOND_US)
    await rounds(store, 2)
    assert await state_of(store) is State.EXPIRED


async def test_timers_outlive_a_full_disk(running: Timekeeper, store: Watched, clock: ManualClock) -> None:
    await make(store, clock, seconds=5)
    store.refusals = 1
    clock.advance(5 * SECOND_US)
    running.timers_changed()
    await rounds(store, 2)
    await settle()
    assert await state_of(store) is State.RUNNING
    clock.advance(SECOND_US)
    await rounds(store, 2)
    assert await state_of(store) is State.EXPIRED


async def test_every_due_timer_is_completed_however_many(
    timekeeper: Timekeeper, store: Watched, hub: Hub, clock: ManualClock
) -> None:
    await asyncio.gather(*(make(store, clock, f"run{number}", seconds=1) for number in range(250)))
    clock.advance(SECOND_US)
    await timekeeper.run_due()
    assert (await store.snapshot()).runs_by_state == {State.EXPIRED: 250}


async def test_held_runs_do_not_hide_the_others(
    timekeeper: Timekeeper, store: Watched, hub: Hub, clock: ManualClock
) -> None:
    held = await asyncio.gather(*(make(store, clock, f"held{number}") for number in range(120)))
    clock.advance(1)
    await make(store, clock)
    blocks = [hub.holding(run.no) for run in held]
    for block in blocks:
        block.__enter__()
    clock.advance(PERIODS.unheld_expiry_us)
    await timekeeper.run_due()
    assert (await store.snapshot()).runs_by_state == {State.RUNNING: 120, State.EXPIRED: 1}


async def test_a_run_is_deleted_after_its_retention(timekeeper: Timekeeper, store: Watched, clock: ManualClock) -> None:
    await make(store, clock, seconds=1)
    clock.advance(SECOND_US)
    await timekeeper.run_due()
    clock.advance(PERIODS.retention_us)
    await timekeeper.run_due()
    assert await refusal(store.get_run(NAMESPACE, "run")) is Reason.RUN_NOT_FOUND
    assert await store.next_due_us() is None


async def test_an_expired_run_leaves_nothing_in_the_hub(
    timekeeper: Timekeeper, store: Watched, hub: Hub, clock: ManualClock
) -> None:
    run = await make(store, clock)
    with hub.holding(run.no):
        pass
    clock.advance(PERIODS.unheld_expiry_us)
    await timekeeper.run_due()
    assert await state_of(store) is State.EXPIRED
    assert hub.last_held_us(run.no) is None


async def lend_a_run(store: Watched, clock: ManualClock) -> int:
    """The number of a worker that may be silent until its lease is over."""
    now_us = clock.now_us()
    opened = await store.managed.open_worker(
        NAMESPACE, "worker-1", {"task": "1"}, set(), lease_until_us=now_us + LEASE_US, now_us=now_us
    )
    return opened.worker_no


async def still_lent(store: Watched, worker_no: int, clock: ManualClock) -> bool:
    return await store.managed.renew_lease(worker_no, lease_until_us=clock.now_us() + LEASE_US)


async def test_a_pause_of_the_server_costs_no_worker_its_lease(
    running: Timekeeper, store: Watched, clock: ManualClock, machine: FrozenMachine
) -> None:
    worker_no = await lend_a_run(store, clock)
    machine.now_us += LEASE_US
    clock.advance(LEASE_US)
    running.timers_changed()
    await rounds(store, 1)
    await settle()
    assert await still_lent(store, worker_no, clock)


async def test_a_silent_worker_loses_its_lease(running: Timekeeper, store: Watched, clock: ManualClock) -> None:
    worker_no = await lend_a_run(store, clock)
    clock.advance(LEASE_US)
    running.timers_changed()
    await rounds(store, 2)
    await settle()
    assert not await still_lent(store, worker_no, clock)


def test_whichever_clock_jumps_shows_a_pause() -> None:
    frozen, wall = FrozenMachine(), FrozenMachine()
    pauses = Pauses(10, clocks=[frozen, wall])
    wall.now_us += 10
    assert not pauses.noticed()
    wall.now_us += 11
    assert pauses.noticed()
    assert not pauses.noticed()
    frozen.now_us += 11
    assert pauses.noticed()


async def test_stopping_what_never_started(timekeeper: Timekeeper) -> None:
    await timekeeper.stop()
