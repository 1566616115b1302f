"""`midstream-server migrate`: brings a PostgreSQL database to this server's schema, before the servers are replaced."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from midstream_server.settings import SettingError, env_name, load
from midstream_server.store import DatabaseUnusable
from midstream_server.store.postgres.connections import check, discard
from midstream_server.store.postgres.migrate import migrate

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, 1 where the database will not do, 2 for wrong arguments."""
    given = _parser().parse_args(arguments)
    try:
        place = load({} if given.store is None else {"store": given.store}).place
    except SettingError as error:
        return _fail(EXIT_USAGE, str(error))
    if not isinstance(place, str):
        return _fail(EXIT_USAGE, "only PostgreSQL is migrated by itself; name it with --store postgresql://…")
    try:
        applied = asyncio.run(_migrate(place))
    except DatabaseUnusable as error:
        return _fail(EXIT_FAILED, str(error))
    sys.stdout.write("".join(f"{name}\n" for name in applied) or "the schema is the newest already\n")
    return 0


async def _migrate(url: str) -> list[str]:
    connection = await check(url)
    try:
        return await migrate(connection)
    finally:
        await discard(connection)


def _fail(code: int, problem: str) -> int:
    sys.stderr.write(f"midstream-server: {problem}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="midstream-server migrate",
        description="Brings a PostgreSQL database to this version's schema, and prints what it has applied. Servers do "
        "the same as they start. Servers of the version before go on working.",
        allow_abbrev=False,
    )
    parser.add_argument("--store", metavar="URL", help=f"postgresql://user@host/database [{env_name('store')}]")
    return parser
