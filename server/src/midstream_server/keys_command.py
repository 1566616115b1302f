"""`midstream-server keys`: creates, lists and revokes API keys, also while a server runs on the same database."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import apsw

from midstream.clock import SystemClock
from midstream_server.domain import api_key
from midstream_server.domain.api_key import ApiKey
from midstream_server.domain.caller import DEFAULT_NAMESPACE
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.names import check_name
from midstream_server.settings import SettingError, env_name, load, shown_default
from midstream_server.store import DatabaseUnusable
from midstream_server.store.credentials import CredentialStore
from midstream_server.store.postgres import PostgresStore
from midstream_server.store.sqlite.credentials import keys as sqlite_keys
from midstream_server.store.sqlite.database import open_writer

T = TypeVar("T")

EXIT_FAILED = 1
EXIT_USAGE = 2
_WAIT_MS = 30_000
"""For a server that writes all the time."""


class Keys(Protocol):
    """The API keys of a database."""

    def add(self, key: ApiKey) -> None: ...

    def revoke(self, key_id: str) -> bool:
        """False where there is no such key."""
        ...

    def all(self) -> list[ApiKey]: ...


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 where the database or the key will not do, 2 for wrong arguments."""
    given = _parser().parse_args(arguments)
    named = {name: value for name in ("database", "store") if (value := getattr(given, name)) is not None}
    try:
        with _open(load(named).place) as keys:
            match given.what:
                case "create":
                    return _create(keys, given.namespace, given.name)
                case "list":
                    return _list(keys)
                case _:
                    return _revoke(keys, given.id)
    except SettingError as error:
        return _fail(EXIT_USAGE, str(error))
    except Refused as refused:
        return _fail(EXIT_FAILED if refused.reason is Reason.STORE_UNAVAILABLE else EXIT_USAGE, refused.message)
    except (DatabaseUnusable, apsw.Error) as error:
        return _fail(EXIT_FAILED, str(error))


def create_key(place: Path | str, namespace: str, name: str) -> str:
    """The text of a new API key. Raises Refused for a bad name, DatabaseUnusable."""
    with _open(place) as keys:
        return _new_key(keys, namespace, name)


@contextmanager
def _open(place: Path | str) -> Iterator[Keys]:
    if isinstance(place, str):
        yield PostgresKeys(place)
        return
    with closing(open_writer(place)) as connection:
        connection.set_busy_timeout(_WAIT_MS)
        yield SqliteKeys(connection)


class SqliteKeys:
    def __init__(self, connection: apsw.Connection) -> None:
        self._execute = connection.execute

    def add(self, key: ApiKey) -> None:
        sqlite_keys.add_key(self._execute, key)

    def revoke(self, key_id: str) -> bool:
        return sqlite_keys.revoke_key(self._execute, key_id, now_us=SystemClock().now_us())

    def all(self) -> list[ApiKey]:
        return sqlite_keys.key_changes(self._execute, after=0).keys


class PostgresKeys:
    """Each call opens the store anew: a command makes one."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, key: ApiKey) -> None:
        asyncio.run(self._ask(lambda store: store.add_key(key)))

    def revoke(self, key_id: str) -> bool:
        return asyncio.run(self._ask(lambda store: store.revoke_key(key_id, now_us=SystemClock().now_us())))

    def all(self) -> list[ApiKey]:
        return asyncio.run(self._ask(lambda store: store.key_changes(after=0))).keys

    async def _ask(self, call: Callable[[CredentialStore], Awaitable[T]]) -> T:
        store = await PostgresStore.open(self._url, limits=Limits(), periods=Periods(), on_commit=lambda _: None)
        try:
            return await call(store.credentials)
        finally:
            await store.close()


def _new_key(keys: Keys, namespace: str, name: str) -> str:
    check_name("--namespace", namespace)
    check_name("--name", name)
    text = api_key.new_text()
    keys.add(api_key.kept(text, namespace=namespace, name=name, now_us=SystemClock().now_us()))
    return text


def _create(keys: Keys, namespace: str, name: str) -> int:
    text = _new_key(keys, namespace, name)
    sys.stderr.write(f"API key {name!r} of namespace {namespace!r}. It is shown this once; only a hash is kept:\n")
    sys.stdout.write(f"{text}\n")
    return 0


def _list(keys: Keys) -> int:
    rows = [("ID", "NAMESPACE", "NAME", "CREATED", "REVOKED")]
    for key in keys.all():
        revoked = "" if key.revoked_us is None else _shown(key.revoked_us)
        rows.append((key.key_id, key.namespace, key.name, _shown(key.created_us), revoked))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def _revoke(keys: Keys, key_id: str) -> int:
    if not keys.revoke(key_id):
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
    database.add_argument(
        "--store", metavar="URL", help=f"instead: postgresql://user@host/database [{env_name('store')}]"
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
