"""Deletes output records: the oldest where a run has too many, all of them when their retention is over."""

from midstream_server.domain.limits import Periods
from midstream_server.domain.run import TimerKind
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.timers import set_timer

_SLICE = 2_000
"""Records deleted with one append, which adds half as many: so it comes down to the bound."""


def trim(tx: Transaction, run_no: int, through_bytes: int) -> None:
    """Deletes the oldest records whose bytes_through is at most `through_bytes`, not all of them at once."""
    if through_bytes <= 0:
        return
    last: int | None = tx.execute(
        "SELECT max(offset) FROM (SELECT offset, bytes_through FROM outputs WHERE run = ? ORDER BY offset LIMIT ?) "
        "WHERE bytes_through <= ?",
        (run_no, _SLICE, through_bytes),
    ).get
    if last is not None:
        tx.execute("DELETE FROM outputs WHERE run = ? AND offset <= ?", (run_no, last))


def run_ended(tx: Transaction, run_no: int, periods: Periods, *, at_us: int) -> None:
    """Where output records go before their run, a timer says when."""
    if periods.output_retention_us >= periods.retention_us:
        return
    if tx.execute("SELECT 1 FROM output_streams WHERE run = ? LIMIT 1", (run_no,)).get is not None:
        set_timer(tx, run_no, TimerKind.OUTPUT_RETENTION, at_us + periods.output_retention_us)
