"""Runs many trials: `python -m support.replay 5000`, on all cores. Prints what happened in them, and each failure."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from support.replay.chunks import (
    Outcome,
    run_in_typescript,
    run_in_typescript_on_real_store,
    run_on_model,
    run_on_real_store,
)

_CHUNK = 50


def fuzz(name: str, run: Callable[[range], Outcome], seeds: range) -> int:
    """Prints what came of the trials; returns how many failed."""
    began = time.monotonic()
    chunks = [seeds[index : index + _CHUNK] for index in range(0, len(seeds), _CHUNK)]
    checks, counts, failed = 0, Counter[str](), 0
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for trials, problems in pool.map(run, chunks):
            failed += len(problems)
            for problem in problems:
                print(problem)
            for trial in trials:
                checks += trial.checks
                counts.update(trial.counts)
    print(f"{name}: {len(seeds):,} trials, {checks:,} checks, {failed} failed, {time.monotonic() - began:.0f} s")
    print("  " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills, suspends and replays random tasks, and compares.")
    parser.add_argument("trials", type=int, nargs="?", default=5_000, help="on a model of the server")
    parser.add_argument("--real", type=int, default=200, help="on the real store and servicers")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    first = options.first_seed
    on_model, on_real_store = range(first, first + options.trials), range(first, first + options.real)
    failed = fuzz("Python, model", run_on_model, on_model)
    failed += fuzz("Python, real store", run_on_real_store, on_real_store)
    failed += fuzz("TypeScript, model", run_in_typescript, on_model)
    failed += fuzz("TypeScript, real store", run_in_typescript_on_real_store, on_real_store)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
