"""The store on PostgreSQL."""

from midstream_server.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
