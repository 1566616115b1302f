"""`midstream-server keys`: creates, lists and revokes API keys, also while a server runs on the same database."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw

from midstream.clock import SystemClock
from midstream_server.domain import api_key
from midstream_server.domain.caller import DEFAULT_NAMESPACE
from midstream_server.domain.errors import Refused
from midstream_server.domain.names import check_name
from midstream_server.settings import env_name, load, shown_default
from midstream_server.store import DatabaseUnusable
from midstream_server.store.sqlite.credentials import keys
from midstream_server.store.sqlite.database import open_writer

EXIT_FAILED = 1
EXIT_USAGE = 2
_WAIT_MS = 30_000
"""For a server that writes all the time."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 where the database or the key will not do, 2 for wrong arguments."""
    given = _parser().parse_args(arguments)
    database = load({} if given.database is None else {"database": given.database}).database
    try:
        with closing(_open(database)) as connection:
            match given.what:
                case "create":
                    return _create(connection, given.namespace, given.name)
                case "list":
                    return _list(connection)
                case _:
                    return _revoke(connection, given.id)
    except Refused as refused:
        return _fail(EXIT_USAGE, refused.message)
    except (DatabaseUnusable, apsw.Error) as error:
        return _fail(EXIT_FAILED, str(error))


def create_key(database: Path, namespace: str, name: str) -> str:
    """The text of a new API key. Raises Refused for a bad name, DatabaseUnusable."""
    with closing(_open(database)) as connection:
        return _new_key(connection, namespace, name)


def _open(database: Path) -> apsw.Connection:
    connection = open_writer(database)
    connection.set_busy_timeout(_WAIT_MS)
    return connection


def _new_key(connection: apsw.Connection, namespace: str, name: str) -> str:
    check_name("--namespace", namespace)
    check_name("--name", name)
    text = api_key.new_text()
    keys.add_key(connection.execute, api_key.kept(text, namespace=namespace, name=name, now_us=SystemClock().now_us()))
    return text


def _create(connection: apsw.Connection, namespace: str, name: str) -> int:
    text = _new_key(connection, namespace, name)
    sys.stderr.write(f"API key {name!r} of namespace {namespace!r}. It is shown this once; only a hash is kept:\n")
    sys.stdout.write(f"{text}\n")
    return 0


def _list(connection: apsw.Connection) -> int:
    rows = [("ID", "NAMESPACE", "NAME", "CREATED", "REVOKED")]
    for key in keys.key_changes(connection.execute, after=0).keys:
        revoked = "" if key.revoked_us is None else _shown(key.revoked_us)
        rows.append((key.key_id, key.namespace, key.name, _shown(key.created_us), revoked))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def _revoke(connection: apsw.Connection, key_id: str) -> int:
    if not keys.revoke_key(connection.execute, key_id, now_us=SystemClock().now_us()):
        return _fail(EXIT_FAILED, f"no API key {key_id!r}; `midstream-server keys list` shows them")
    sys.stderr.write(f"API key {key_id} is revoked, and with it every access token that it signed.\n")
    return 0


def _shown(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _fail(code: int, problem: str) -> int:
    sys.stderr.write(f"midstream-server: {problem}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="midstream-server keys",
        description="API keys of backends. A server that runs on the same database notices within a second. As soon as "
        "there is one key, every call needs credentials, for ever.",
        allow_abbrev=False,
    )
    database = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    database.add_argument(
        "--database",
        metavar="PATH",
        help=f"the SQLite database, created where there is none "
        f"[{env_name('database')}, default: {shown_default('database')}]",
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="create|list|revoke")
    create = commands.add_parser(
        "create", parents=[database], help="makes an API key and prints it, this once", allow_abbrev=False
    )
    create.add_argument("--namespace", default=DEFAULT_NAMESPACE, help=f"what it opens [default: {DEFAULT_NAMESPACE}]")
    create.add_argument("--name", required=True, help="who has it: stamped on each record as its sender's subject")
    commands.add_parser("list", parents=[database], help="shows all keys, without their secrets", allow_abbrev=False)
    revoke = commands.add_parser(
        "revoke", parents=[database], help="ends a key and all access tokens that it signed", allow_abbrev=False
    )
    revoke.add_argument("id", metavar="ID", help="what stands between the first and the second _ of the key")
    return parser
