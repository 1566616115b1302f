"""Opens the database file: pragmas, schema, and the lock that keeps a second server out."""

import fcntl
import os
from importlib import resources
from pathlib import Path

import apsw

from midstream_server.store.unusable import DatabaseUnusable

SCHEMA_VERSION = 1
_ADDED = ("outputs/schema.sql", "credentials/schema.sql", "schemas/schema.sql")
"""Tables that the first databases of this version do not have: made where they are missing."""
_PAGE_BYTES = 8192
_STATEMENTS = 500
"""Kept compiled, by connection: more than there are. With apsw's 100 one in ten was compiled anew (measured)."""


class Lock:
    """Held for as long as a server has the database open. The system drops it when the process dies."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnusable(
                f"cannot write to {path.parent}: {error.strerror}; choose a database in a writable directory"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise DatabaseUnusable(
                f"database {database} is in use by another midstream-server; stop that one, or choose another database"
            ) from error

    def release(self) -> None:
        os.close(self._fd)


def open_writer(path: Path) -> apsw.Connection:
    """The one connection that writes. Creates the schema in a new file."""
    try:
        connection = apsw.Connection(str(path), statementcachesize=_STATEMENTS)
        _configure(connection, path)
        _create_or_check_schema(connection, path)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise DatabaseUnusable(f"{path} is not an intact SQLite database: {error}") from error
    except apsw.CantOpenError as error:
        raise DatabaseUnusable(f"cannot open {path}: {error}") from error
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """A connection that reads what is committed, also while the writer waits for the disk."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=_STATEMENTS)
    connection.set_busy_timeout(5_000)
    return connection


def _configure(connection: apsw.Connection, path: Path) -> None:
    connection.set_busy_timeout(5_000)
    for pragma in (f"page_size = {_PAGE_BYTES}", "auto_vacuum = INCREMENTAL", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    mode = connection.execute("PRAGMA journal_mode = WAL").get
    if mode != "wal":
        raise DatabaseUnusable(f"{path} cannot use a write-ahead log (got {mode!r}); a network file system does not do")
    connection.execute("PRAGMA wal_autocheckpoint = 2000").fetchall()
    make_durable(connection)


def make_durable(connection: apsw.Connection) -> None:
    """Every commit waits until the log is on disk: acknowledged means that it survives a power cut."""
    connection.execute("PRAGMA synchronous = FULL").fetchall()


def _create_or_check_schema(connection: apsw.Connection, path: Path) -> None:
    # At once, since `midstream-server keys` and a server may come to a new file together.
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").get
        if version == 0:
            if connection.execute("SELECT count(*) FROM sqlite_schema").get:
                raise DatabaseUnusable(f"{path} is the database of another program; choose another file")
            _execute_file(connection, "schema.sql")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}").fetchall()
        elif version != SCHEMA_VERSION:
            raise DatabaseUnusable(
                f"{path} has schema version {version}, this server needs {SCHEMA_VERSION}; use the server that wrote it"
            )
        for added in _ADDED:
            _execute_file(connection, added)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _execute_file(connection: apsw.Connection, name: str) -> None:
    connection.execute(resources.files(__package__).joinpath(name).read_text("utf-8")).fetchall()
