"""Keeps how runs were executed, for people to look at."""

from midstream_server.domain.managed import Ending
from midstream_server.store.sqlite.group_commit import Transaction


def end_assignment(tx: Transaction, run_no: int, ending: Ending, *, now_us: int) -> None:
    """Ends the run's present assignment, if there is one."""
    tx.execute(
        "UPDATE assignments SET ended_us = ?, ending = ? WHERE run = ? AND ended_us IS NULL "
        "AND epoch = (SELECT max(epoch) FROM assignments WHERE run = ?3)",
        (now_us, int(ending), run_no),
    )
