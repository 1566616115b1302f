"""Runs many trials: `python -m support.replay 5000`, on all cores. Prints what happened in them, and each failure."""

import argparse
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from support.replay.trial import Trial, run_trial

_CHUNK = 50


def run_chunk(seeds: Iterable[int]) -> tuple[list[Trial], list[str]]:
    """The trials that went well, and what went wrong in the others."""
    logging.disable()
    warnings.simplefilter("ignore")
    trials, problems = [], []
    for seed in seeds:
        try:
            trials.append(run_trial(seed))
        except Exception as error:
            problems.append(f"seed {seed}: {type(error).__name__}: {error}")
    return trials, problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills, suspends and replays random tasks, and compares.")
    parser.add_argument("trials", type=int, nargs="?", default=2_000)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    seeds = range(options.first_seed, options.first_seed + options.trials)
    chunks = [seeds[index : index + _CHUNK] for index in range(0, len(seeds), _CHUNK)]
    checks, counts, failed = 0, Counter[str](), 0
    with ProcessPoolExecutor() as pool:
        for trials, problems in pool.map(run_chunk, chunks):
            failed += len(problems)
            for problem in problems:
                print(problem)
            for trial in trials:
                checks += trial.checks
                counts.update(trial.counts)
    seconds = time.monotonic() - began
    print(f"{options.trials:,} trials, {checks:,} checks, {failed} failed, {seconds:.0f} s")
    print(", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
