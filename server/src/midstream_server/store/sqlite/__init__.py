"""The store on SQLite."""

from midstream_server.store.sqlite.database import DatabaseUnusable
from midstream_server.store.sqlite.group_commit import CommitReport
from midstream_server.store.sqlite.store import SqliteStore

__all__ = ["CommitReport", "DatabaseUnusable", "SqliteStore"]
