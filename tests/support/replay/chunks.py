"""Some trials after each other, in a process of their own."""

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from support.replay.real import RealServers
from support.replay.trial import Trial, run_trial
from support.replay.typescript import NodeEngine

Outcome = tuple[list[Trial], list[str]]
"""The trials that went well, and what went wrong in the others."""


def run_on_model(seeds: range) -> Outcome:
    return _run(seeds)


def run_on_real_store(seeds: range) -> Outcome:
    with TemporaryDirectory() as directory, RealServers(Path(directory)) as servers:
        return _run(seeds, servers=servers)


def run_in_typescript(seeds: range) -> Outcome:
    with NodeEngine() as node:
        return _run(seeds, node=node)


def run_in_typescript_on_real_store(seeds: range) -> Outcome:
    with TemporaryDirectory() as directory, RealServers(Path(directory)) as servers, NodeEngine() as node:
        return _run(seeds, servers=servers, node=node)


def _run(seeds: range, *, servers: RealServers | None = None, node: NodeEngine | None = None) -> Outcome:
    logging.disable()
    warnings.simplefilter("ignore")
    trials, problems = [], []
    for seed in seeds:
        try:
            trials.append(run_trial(seed, servers=servers, node=node))
        except Exception as error:
            problems.append(f"seed {seed}: {type(error).__name__}: {error}")
    return trials, problems
