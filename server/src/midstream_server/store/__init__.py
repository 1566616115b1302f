"""Where runs and their logs are kept."""

from midstream_server.store.commit_report import CommitReport
from midstream_server.store.interface import (
    Change,
    Demand,
    Fired,
    HandlerFailure,
    Hold,
    Look,
    NewRun,
    Page,
    Snapshot,
    Store,
)
from midstream_server.store.unusable import DatabaseUnusable

__all__ = [
    "Change",
    "CommitReport",
    "DatabaseUnusable",
    "Demand",
    "Fired",
    "HandlerFailure",
    "Hold",
    "Look",
    "NewRun",
    "Page",
    "Snapshot",
    "Store",
]
