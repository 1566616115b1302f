"""The defaults that the contract documents."""

import dataclasses

import pytest

from midstream_server.domain import limits
from midstream_server.domain.limits import Limits, Periods

MIB = 1024 * 1024
DAY_US = 24 * 3600 * 1_000_000


def test_the_defaults_are_the_documented_ones() -> None:
    assert dataclasses.asdict(Limits()) == {
        "max_payload_bytes": MIB,
        "max_unread_records": 10_000,
        "max_unread_bytes": 64 * MIB,
        "max_streams_per_run": 1_000,
        "max_output_bytes": 64 * MIB,
    }
    assert dataclasses.asdict(Periods()) == {
        "retention_us": 7 * DAY_US,
        "output_retention_us": 7 * DAY_US,
        "unheld_expiry_us": DAY_US,
        "cancel_grace_us": 30_000_000,
    }
    assert (limits.KEY_BYTES, limits.METADATA_PAIRS, limits.METADATA_BYTES) == (128, 32, 8_192)
    assert (limits.BATCH_RECORDS, limits.FRAME_BYTES) == (1_000, MIB)


def test_ten_years_fit_whatever_leap_years_they_have() -> None:
    assert 10 * 365 * DAY_US + 3 * DAY_US <= limits.DURATION_US < 11 * 365 * DAY_US


@pytest.mark.parametrize("value", [Limits(), Periods()], ids=lambda value: type(value).__name__)
def test_bounds_cannot_be_changed_while_the_server_runs(value: Limits | Periods) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, 1)
