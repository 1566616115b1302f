"""Managed runs in both languages, on one server and on many, while everything fails that can."""

from pathlib import Path

import pytest

from support.chaos.battle import battle, planned
from support.chaos.cluster import Cluster
from support.chaos.history import History, RunSeen
from support.chaos.schedule import plan

WORKERS = ("python-0", "python-1", "typescript-0")
RUNS_OF = ("python", "typescript") * 2
TRIES = 4
SLOW_FAULTS = ("fail_over_silently", "drain")
"""To notice that a machine is gone takes ten seconds: `make chaos` has the time."""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_three_servers_on_postgres(tmp_path: Path) -> None:
    """Their clocks differ by more than a lease."""
    cluster = Cluster(tmp_path, postgres=True, replicas=3, standby=True, skews=(2.5, -1.5, 0))
    verdict = await battle(
        cluster,
        tmp_path,
        seed="three",
        workers=WORKERS,
        runs_of=RUNS_OF,
        make_plan=planned("three", 7, pace=2, without=SLOW_FAULTS),
        haunted=2,
    )
    assert not verdict.violations, str(verdict)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_one_server_on_sqlite(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, postgres=False)
    verdict = await battle(
        cluster, tmp_path, seed="one", workers=WORKERS, runs_of=RUNS_OF, make_plan=planned("one", 7, pace=2)
    )
    assert not verdict.violations, str(verdict)
    assert times_suspended(verdict.history) > len(RUNS_OF), "hardly a run was ever suspended"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_bug_in_one_server_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On PostgreSQL more safeguards are taken out: see `test_planted_bugs_on_postgres.py`."""
    for seed in range(TRIES):
        directory = tmp_path_factory.mktemp("suspend_check")
        cluster = Cluster(directory, postgres=False, launch=["--without", "suspend_check"])
        workers, runs_of = ("python-0", "typescript-0"), RUNS_OF
        verdict = await battle(
            cluster, directory, seed=f"{seed}", workers=workers, runs_of=runs_of, patience=3, crash=False
        )
        if "no_run_is_stuck" in verdict.rules():
            return
    pytest.fail(f"without the suspend check nothing was found: {verdict}")


def times_suspended(history: History) -> int:
    return sum(isinstance(event, RunSeen) and event.state == "SUSPENDED" for event in history)


def test_the_same_seed_makes_the_same_plan() -> None:
    targets = {"kill": ["server 0", "server 1"], "cut": ["way of server 0"], "kill_backend": ["the primary"]}
    once, again, other = (plan(seed, targets, 9) for seed in ("a", "a", "b"))
    assert once == again != other
    assert {fault.kind for fault in once[:3]} == targets.keys(), "each kind comes before one comes again"
