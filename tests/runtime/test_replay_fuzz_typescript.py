"""The fuzz of test_replay_fuzz.py, of the TypeScript engine: the same scenarios, schedules and verdicts.

`make fuzz` runs more of the same.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from midstream.runtime.errors import Diverged
from support.replay.bugs import PLANTED_IN_TYPESCRIPT
from support.replay.real import RealServers
from support.replay.shapes import PARTS, overtaking, random_shape
from support.replay.trial import run_trial
from support.replay.typescript import NodeEngine

_SEEDS = range(160)
_SEEDS_PER_TEST = 40
_MOST_SEEDS_FOR_A_BUG = 200


@pytest.fixture(scope="module")
def node() -> Iterator[NodeEngine]:
    with NodeEngine() as node:
        yield node


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServers]:
    directory: Path = tmp_path_factory.mktemp("fuzz")
    with RealServers(directory) as servers:
        yield servers


@pytest.mark.parametrize("first", range(_SEEDS.start, _SEEDS.stop, _SEEDS_PER_TEST))
def test_every_life_of_a_run_agrees_with_its_log(node: NodeEngine, first: int) -> None:
    checks = sum(run_trial(seed, node=node).checks for seed in range(first, first + _SEEDS_PER_TEST))
    assert checks > _SEEDS_PER_TEST


def test_every_part_has_been_in_a_trial() -> None:
    drawn = {name for seed in _SEEDS for name in random_shape(seed).parts}
    assert drawn == {part.__name__ for part in (*PARTS, overtaking)}


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_the_same_on_the_real_store_with_the_real_frames(servers: RealServers, node: NodeEngine, first: int) -> None:
    assert sum(run_trial(seed, servers=servers, node=node).checks for seed in range(first, first + 10)) > 10


@pytest.mark.parametrize("bug", PLANTED_IN_TYPESCRIPT)
def test_a_planted_bug_is_caught(bug: str) -> None:
    with NodeEngine(bug) as node:
        for seed in range(_MOST_SEEDS_FOR_A_BUG):
            try:
                run_trial(seed, node=node)
            except (AssertionError, Diverged):
                return
    pytest.fail(f"{_MOST_SEEDS_FOR_A_BUG} trials went well with the bug: {bug}")
