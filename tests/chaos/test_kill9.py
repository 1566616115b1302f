"""kill -9 at random moments under load: nothing acknowledged is lost, doubled or out of order."""

from pathlib import Path

import pytest

from support.chaos.client_load import ClientLoad
from support.chaos.history import Accepted, AckRefused, Delivered, History
from support.chaos.scenario import chaos


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ["kill-1", "kill-2"])
async def test_kill9_under_load(tmp_path: Path, seed: str) -> None:
    verdict = await chaos(tmp_path, seed=seed, kills=5)
    assert not verdict.violations, str(verdict)
    check_that_it_was_hard(verdict.history)


@pytest.mark.timeout(120)
async def test_kill9_and_sigterm_under_load(tmp_path: Path) -> None:
    verdict = await chaos(tmp_path, seed="drain", kills=2, drains=3)
    assert not verdict.violations, str(verdict)


def check_that_it_was_hard(history: History) -> None:
    """A load that never meets what it is for would find nothing."""
    assert any(isinstance(event, Accepted) and event.deduplicated for event in history), "nothing was sent twice"
    refused = {event.reason for event in history if isinstance(event, AckRefused)}
    assert refused == {"FENCED", "ACK_AHEAD"}, "no holder tried what is forbidden"
    delivered = [
        (event.record.run_id, event.record.stream_id, event.record.seq)
        for event in history
        if isinstance(event, Delivered)
    ]
    assert len(set(delivered)) < len(delivered), "nothing was delivered again"


@pytest.mark.timeout(120)
async def test_the_client_survives_kill9_and_sigterm(tmp_path: Path) -> None:
    verdict = await chaos(tmp_path, seed="client", kills=3, drains=1, make_load=ClientLoad)
    assert not verdict.violations, str(verdict)
    for run in verdict.final.values():
        assert run.state == "COMPLETED"
        assert [stream.unread_count for stream in run.streams.values()] == [0]
