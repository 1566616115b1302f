"""Where runs and their logs are kept."""

from midstream_server.store.interface import (
    Change,
    Fired,
    HandlerFailure,
    Hold,
    Look,
    NewRun,
    Page,
    Snapshot,
    Store,
)

__all__ = ["Change", "Fired", "HandlerFailure", "Hold", "Look", "NewRun", "Page", "Snapshot", "Store"]
