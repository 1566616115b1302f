"""How much each figure measures."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts of one run of the bench."""

    repeats: int = 5
    """Interleaved repeats (limit, ours, limit, ours, ...) behind every figure."""

    payload_bytes: int = 100
    """Content of every record."""

    round_trips: int = 400
    """Latency samples a repeat, one message in flight."""

    pipelined_records: int = 45_000
    """Records a repeat of the pipelined rates."""

    records_per_run: int = 9_000
    """Of these, how many go to one run: under the default bound of unread records."""

    frame_records: int = 1_000
    """Records in one frame where the bench builds frames itself."""

    frames_in_flight: int = 8
    """Frames without an answer where the bench builds frames itself."""

    unary_calls: int = 4_000
    """Calls a repeat of the unary rate."""

    unary_in_flight: int = 32
    """Calls at once of the unary rate."""

    idle_subscriptions: int = 5_000
    """Open subscriptions on which nothing happens."""

    idle_pages: int = 2_000
    """Open pages on which nothing happens."""

    resumes: int = 100
    """Latency samples a repeat of resuming a run with a short log; fewer with a long one."""

    log_entries: tuple[int, ...] = (10, 1_000, 10_000)
    """How long the logs of resumed runs are."""

    suspended_runs: int = 100_000
    """Runs that are suspended and nothing else."""

    managed_runs: int = 100
    """Runs a repeat that are started, suspended, resumed and finished."""

    clones: int = 100_000
    """Suspended runs in a database, copied there."""

    wake_ups: int = 200
    """Latency samples a repeat of waking one of them."""

    lives: int = 5_000
    """Runs that are started, suspended, resumed and finished by a worker that does nothing."""

    resumed_runs: int = 50
    """Runs that are each suspended and resumed ten times."""

    cancels: int = 20
    """Steps a repeat that a cancel stops."""


FULL = Sizes()

SMOKE = Sizes(
    repeats=2,
    round_trips=5,
    pipelined_records=60,
    records_per_run=30,
    frame_records=10,
    frames_in_flight=2,
    unary_calls=8,
    unary_in_flight=4,
    idle_subscriptions=10,
    idle_pages=10,
    resumes=2,
    log_entries=(10, 20),
    suspended_runs=20,
    managed_runs=3,
    clones=50,
    wake_ups=3,
    lives=30,
    resumed_runs=3,
    cancels=1,
)
"""Shows that every figure runs; its numbers mean nothing."""
