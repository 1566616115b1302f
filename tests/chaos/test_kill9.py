"""kill -9 at random moments under load: nothing acknowledged is lost, doubled or out of order."""

from pathlib import Path

import pytest

from support.chaos.scenario import chaos


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ["kill-1", "kill-2"])
async def test_kill9_under_load(tmp_path: Path, seed: str) -> None:
    verdict = await chaos(tmp_path, seed=seed, kills=5)
    assert not verdict.violations, verdict
    assert verdict.kills == 6
