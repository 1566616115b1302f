"""kill -9 of server, workers and runs' processes: every record changes its run's memory exactly once."""

from pathlib import Path

import pytest

from support.chaos.launch import WORKER_SAFEGUARDS
from support.chaos.workers import describe, worker_chaos

TRIES = 4
"""A bug shows nearly always; not to depend on chance, another seed may try."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ["workers-1", "workers-2"])
async def test_kill9_of_everything(tmp_path: Path, seed: str) -> None:
    seen = await worker_chaos(tmp_path, seed=seed, runs=6, words=20, faults=2)
    assert not seen.violations, describe(seen)
    assert seen.suspensions > 6, "hardly a run was ever suspended"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("safeguard", WORKER_SAFEGUARDS)
async def test_a_planted_bug_is_found(tmp_path_factory: pytest.TempPathFactory, safeguard: str) -> None:
    for seed in range(TRIES):
        directory = tmp_path_factory.mktemp(safeguard)
        seen = await worker_chaos(
            directory, seed=f"{seed}", runs=6, words=10, faults=0, launch=["--without", safeguard]
        )
        if seen.violations:
            return
    pytest.fail(f"without {safeguard} nothing was found")
