"""Chaos for as long as you like: `make chaos SECONDS=600`, and again what failed: `make chaos SEED=... ROUNDS=1`."""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

from support.chaos.battle import battle, planned
from support.chaos.cluster import Cluster
from support.chaos.scenario import Verdict

FAULTS = 25
WORKERS = ("python-0", "python-1", "typescript-0", "typescript-1")
RUNS_OF = ("python", "typescript") * 4
SKEW_SECONDS = 5.0
ON_SQLITE = 4
"""One round in so many is on SQLite."""


async def one_round(seed: str, directory: Path) -> Verdict:
    """Everything about it comes from the seed."""
    randomness = random.Random(f"round {seed}")
    if randomness.randrange(ON_SQLITE) == 0:
        cluster, haunted = Cluster(directory, postgres=False), 0
    else:
        skews = [randomness.uniform(-SKEW_SECONDS, SKEW_SECONDS) for _ in range(3)]
        cluster, haunted = Cluster(directory, postgres=True, replicas=3, standby=True, skews=skews), 2
    return await battle(
        cluster,
        directory,
        seed=seed,
        workers=WORKERS,
        runs_of=RUNS_OF,
        words=30,
        make_plan=planned(seed, FAULTS),
        haunted=haunted,
    )


def main() -> int:
    """Ends with 1 at the first violation, and leaves its history behind."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument(
        "--seed", default=f"{time.time_ns() % 1_000_000_000:09}", help="of all rounds, or a round's own"
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="no round begins after so long")
    parser.add_argument(
        "--rounds", type=int, help="how many rounds, however long they take; 1 repeats a round by its seed"
    )
    options = parser.parse_args()
    began = time.monotonic()
    for number in itertools.count() if options.rounds is None else range(options.rounds):
        if options.rounds is None and time.monotonic() - began > options.seconds:
            return 0
        seed = options.seed if options.rounds == 1 else f"{options.seed}/{number}"
        directory = Path(tempfile.mkdtemp(prefix="midstream-chaos-"))
        print(f"SEED={seed} in {directory}", flush=True)
        verdict = asyncio.run(one_round(seed, directory))
        records = sum(len(run.records) for run in verdict.final.values())
        print(f"  {len(verdict.final)} runs, {records} records, {len(verdict.violations)} violations", flush=True)
        if verdict.violations:
            print(f"{verdict}\nrepeat it with: make chaos SEED={seed} ROUNDS=1")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
