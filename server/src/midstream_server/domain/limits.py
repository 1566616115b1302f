"""The bounds that keep one run from harming the others."""

from dataclasses import dataclass

KEY_BYTES = 128
METADATA_PAIRS = 32
METADATA_BYTES = 8 * 1024
BATCH_RECORDS = 1_000
FRAME_BYTES = 1024 * 1024
DURATION_US = 10 * 366 * 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that an operator may set."""

    max_payload_bytes: int = 1024 * 1024
    max_unread_records: int = 10_000
    max_unread_bytes: int = 64 * 1024 * 1024
    max_streams_per_run: int = 1_000
    max_output_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How long things last, in microseconds."""

    retention_us: int = 7 * 24 * 3600 * 1_000_000
    output_retention_us: int = 7 * 24 * 3600 * 1_000_000
    unheld_expiry_us: int = 24 * 3600 * 1_000_000
    cancel_grace_us: int = 30 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLimits:
    """What one access token may do."""

    records_per_second: float = 50
    burst: int = 200
    max_subscriptions: int = 32
