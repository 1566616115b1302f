"""On PostgreSQL, too, each safeguard that is taken out must be missed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chaos.battle import battle
from support.chaos.cluster import Cluster
from support.chaos.launch import POSTGRES_SAFEGUARDS, WORKER_SAFEGUARDS
from support.chaos.scenario import Verdict, chaos
from support.chaos.schedule import Fault
from support.postgres import Postgres

TRIES = 10
"""A bug shows in every other run at least; not to depend on chance, other seeds may try."""

LATE = ("wal_writer_delay=10s", "wal_writer_flush_after=2GB")
"""What is not waited for is written late, so that it is there to be lost."""

RECORDS = {
    "synchronous_commit": {"acknowledged_is_stored"},
    "holder_check": {"only_the_newest_holder_acknowledges"},
}
"""The rules that must find the bug, among others: with attached runs, and senders and holders alone."""

WORK = {
    "suspend_check": {"no_run_is_stuck"},
    "epoch_check": {"one_epoch_at_a_time"},
    "run_lock": {"no_run_is_stuck", "one_epoch_at_a_time", "memory_is_the_fold_of_the_log", "managed_runs_end_well"},
}
"""With workers: one of these rules must find it."""

LOST_LEASES = (Fault(0, "stall", "way of server 0", 3.0), Fault(5, "stall", "way of server 0", 3.0))
"""A worker's words wait there while another worker, elsewhere, gets its runs."""
PLANS = {"epoch_check": LOST_LEASES}
RUNS = {"run_lock": (30, 4)}
"""How many at a time, and with how many words: of two servers' transactions, few meet."""


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres(durable=True, options=LATE) as server:
        yield server


def test_every_planted_bug_is_tried() -> None:
    assert RECORDS.keys() | WORK.keys() >= POSTGRES_SAFEGUARDS.keys() | WORKER_SAFEGUARDS.keys()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("safeguard", RECORDS)
async def test_a_bug_with_records_is_found(tmp_path: Path, postgres: Postgres, safeguard: str) -> None:
    flags = ["--without", safeguard]
    verdict = await chaos(
        tmp_path, seed="planted", kills=0, crashes=1, max_answers=150, launch=flags, database=postgres
    )
    assert RECORDS[safeguard] <= verdict.rules(), str(verdict)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("safeguard", WORK)
async def test_a_bug_with_workers_is_found(tmp_path_factory: pytest.TempPathFactory, safeguard: str) -> None:
    for seed in range(TRIES):
        verdict = await _without(tmp_path_factory.mktemp(safeguard), f"{seed}", safeguard)
        if verdict.rules() & WORK[safeguard]:
            return
    pytest.fail(f"without {safeguard} none of {sorted(WORK[safeguard])} complained: {verdict}")


async def _without(directory: Path, seed: str, safeguard: str) -> Verdict:
    """The epoch check is missed by ghosts alone: what workers say late is mostly what others have said before."""
    haunted = 3 if safeguard == "epoch_check" else 0
    runs, words = RUNS.get(safeguard, (6, 8))
    return await battle(
        Cluster(directory, postgres=True, replicas=2, launch=["--without", safeguard]),
        directory,
        seed=seed,
        workers=() if haunted else ("python-0",),
        runs_of=() if haunted else ("python",) * runs,
        words=words,
        make_plan=lambda _: PLANS.get(safeguard, ()),
        haunted=haunted,
        patience=3,
        crash=False,
    )
