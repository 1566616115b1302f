"""Random tasks, killed and suspended at every chance, come to what a plain fold of their log comes to.

`make fuzz` runs more of the same.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from midstream.runtime.errors import Diverged
from support.replay.bugs import PLANTED
from support.replay.real import RealServers
from support.replay.trial import run_trial

_SEEDS_PER_TEST = 40
_MOST_SEEDS_FOR_A_BUG = 200


@pytest.mark.parametrize("first", range(0, 600, _SEEDS_PER_TEST))
def test_every_life_of_a_run_agrees_with_its_log(first: int) -> None:
    checks = sum(run_trial(seed).checks for seed in range(first, first + _SEEDS_PER_TEST))
    assert checks > _SEEDS_PER_TEST


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServers]:
    directory: Path = tmp_path_factory.mktemp("fuzz")
    with RealServers(directory) as servers:
        yield servers


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_the_same_on_the_real_store_with_the_real_frames(servers: RealServers, first: int) -> None:
    assert sum(run_trial(seed, servers=servers).checks for seed in range(first, first + 10)) > 10


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_caught(name: str) -> None:
    for seed in range(_MOST_SEEDS_FOR_A_BUG):
        try:
            run_trial(seed, PLANTED[name])
        except (AssertionError, Diverged):
            return
    pytest.fail(f"{_MOST_SEEDS_FOR_A_BUG} trials went well with the bug: {name}")
