"""Deletes output records: the oldest where a run has too many, all of them when their retention is over."""

from midstream_server.domain.limits import Periods
from midstream_server.domain.run import TimerKind
from midstream_server.store.postgres.timers import set_timer
from midstream_server.store.postgres.transaction import Transaction

_SLICE = 2_000
"""Records deleted with one append, which adds half as many: so it comes down to the bound."""


async def trim(tx: Transaction, run_no: int, through_bytes: int) -> None:
    """Deletes the oldest records whose bytes_through is at most `through_bytes`, not all of them at once."""
    if through_bytes <= 0:
        return
    await tx.execute(
        "DELETE FROM outputs WHERE run = $1 AND output_offset <= (SELECT max(output_offset) FROM "
        "(SELECT output_offset, bytes_through FROM outputs WHERE run = $1 ORDER BY output_offset LIMIT $2) AS oldest "
        "WHERE bytes_through <= $3)",
        run_no,
        _SLICE,
        through_bytes,
    )


async def run_ended(tx: Transaction, run_no: int, periods: Periods, *, at_us: int) -> None:
    """Where output records go before their run, a timer says when."""
    if periods.output_retention_us >= periods.retention_us:
        return
    if await tx.fetchval("SELECT true FROM output_streams WHERE run = $1 LIMIT 1", run_no) is not None:
        await set_timer(tx, run_no, TimerKind.OUTPUT_RETENTION, at_us + periods.output_retention_us)
