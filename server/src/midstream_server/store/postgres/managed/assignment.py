"""Keeps how runs were executed, for people to look at."""

from midstream_server.domain.managed import Ending
from midstream_server.store.postgres.transaction import Transaction


async def end_assignment(tx: Transaction, run_no: int, ending: Ending, *, now_us: int) -> None:
    """Ends the run's present assignment, if there is one."""
    await tx.execute(
        "UPDATE assignments SET ended_us = $1, ending = $2 WHERE run = $3 AND ended_us IS NULL "
        "AND epoch = (SELECT max(epoch) FROM assignments WHERE run = $3)",
        now_us,
        int(ending),
        run_no,
    )
