"""The store on SQLite."""

from midstream_server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
