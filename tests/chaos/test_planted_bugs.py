"""The checker is worth something only if it finds bugs: each safeguard that is taken out must be missed."""

from pathlib import Path

import pytest

from support.chaos.launch import SAFEGUARDS
from support.chaos.scenario import Verdict, chaos

TRIES = 5
"""A bug shows under a random load nearly always; not to depend on chance, another seed may try."""

PATIENCE_SECONDS = 15
"""What is broken on purpose may wait for ever, for a record that it has skipped."""

FOUND_BY: dict[str, set[str]] = {
    "fsync": {"acknowledged_is_stored"},
    "fsync_of_commits": {"acknowledged_is_stored"},
    "commit_before_receipt": {"acknowledged_is_stored"},
    "key_check": {"one_seq_for_one_key", "receipts_tell_duplicates"},
    "cursor_check": {"cursor_never_goes_back", "only_delivered_is_acknowledged"},
    "holder_check": {"only_the_newest_holder_acknowledges"},
}
"""The rules that must find each planted bug, among others."""


async def run(directory: Path, seed: int, *flags: str) -> Verdict:
    return await chaos(
        directory,
        seed=f"planted-{seed}",
        kills=2,
        max_answers=600,
        launch=["--power-cut", *flags],
        patience=PATIENCE_SECONDS if flags else None,
    )


def test_every_planted_bug_is_tried() -> None:
    assert FOUND_BY.keys() == SAFEGUARDS.keys()


@pytest.mark.timeout(120)
async def test_nothing_is_found_with_all_safeguards(tmp_path: Path) -> None:
    verdict = await run(tmp_path, 0)
    assert not verdict.violations, str(verdict)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("safeguard", FOUND_BY)
async def test_a_planted_bug_is_found(tmp_path_factory: pytest.TempPathFactory, safeguard: str) -> None:
    missing = FOUND_BY[safeguard]
    for seed in range(TRIES):
        verdict = await run(tmp_path_factory.mktemp(safeguard), seed, "--without", safeguard)
        missing = missing - verdict.rules()
        if not missing:
            return
    pytest.fail(f"without {safeguard} the checker never complained by {sorted(missing)}; it found {verdict}")
