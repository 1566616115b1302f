"""Connections to the primary, with what the store relies on pinned."""

import asyncio
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from midstream_server.domain.errors import Refused, store_unavailable
from midstream_server.store.unusable import DatabaseUnusable

Connection: TypeAlias = "asyncpg.Connection[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""After this long without an answer the connection is given up. A half-open one gives no other sign."""

READERS = 8

_SETTINGS = {
    "application_name": "midstream-server",
    # Every statement finds its rows by an index. Plans made on empty or unanalysed tables would scan: measured, a
    # wake-up then took 188 ms instead of 1.9 ms once the table had grown.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    # A server that was stopped in the middle of a transaction must not keep the others from its runs.
    "idle_in_transaction_session_timeout": "5000",
    "tcp_user_timeout": "10000",
    "timezone": "UTC",
}

_AWAY = (
    *(asyncpg.PostgresConnectionError, asyncpg.InsufficientResourcesError, asyncpg.OperatorInterventionError),
    *(asyncpg.PostgresSystemError, asyncpg.ReadOnlySQLTransactionError, asyncpg.InvalidTransactionStateError),
    *(asyncpg.LockNotAvailableError, asyncpg.TargetServerAttributeNotMatched),
    *(asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError),
    *(asyncpg.InterfaceError, OSError, TimeoutError),
    # What asyncpg says where the server has said goodbye on an idle connection.
    *(asyncpg.InternalClientError, asyncpg.ProtocolError),
)


def is_away(error: BaseException) -> bool:
    """True where the database cannot be reached or cannot work now; false for a fault of the statement."""
    # asyncpg reports an argument that does not fit its column as an InterfaceError that is a ValueError too.
    return isinstance(error, _AWAY) and not isinstance(error, ValueError)


def as_refusal(error: BaseException) -> BaseException:
    """STORE_UNAVAILABLE where the database is away; else the error itself."""
    return unavailable(error) if is_away(error) else error


def unavailable(error: BaseException) -> Refused:
    return store_unavailable(str(error) or type(error).__name__)


async def connect(url: str) -> Connection:
    """A connection to the server that takes writes, of all that the URL names. Raises what `is_away` knows."""
    connection = await _connect_to_primary(url, server_settings=_SETTINGS)
    await _prepare(connection)
    return connection


async def _connect_to_primary(url: str, **options: Any) -> Connection:
    """Asks all hosts at once: one whose machine is gone does not even refuse, and would keep us from the others."""
    attempts = [asyncio.create_task(_connect_to(each, **options)) for each in each_host(url)]
    pending = set(attempts)
    chosen: asyncio.Task[Connection] | None = None
    try:
        while chosen is None and pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            chosen = next((attempt for attempt in done if attempt.exception() is None), None)
        if chosen is not None:
            return chosen.result()
        failures = [failure for attempt in attempts if (failure := attempt.exception())]
        # That it takes no writes, or wants a password, tells more than that somebody else is not there.
        raise next((failure for failure in failures if not isinstance(failure, OSError)), failures[0])
    finally:
        for attempt in attempts:
            if attempt is not chosen:
                attempt.cancel()
                attempt.add_done_callback(_abandon)


def _abandon(attempt: "asyncio.Task[Connection]") -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


def each_host(url: str) -> list[str]:
    """The URL with one of its hosts at a time."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in hosts.split(",")]


async def _connect_to(url: str, **options: Any) -> Connection:
    connection: Connection = await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        # Whatever the URL says: nothing is ever decided on a standby's data.
        target_session_attrs=SessionAttribute.read_write,
        **options,
    )
    return connection


async def check(url: str) -> Connection:
    """The first connection. Raises DatabaseUnusable, with what to do."""
    try:
        connection = await connect(url)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise DatabaseUnusable(
            f"cannot connect to PostgreSQL ({str(error) or type(error).__name__}); "
            "check the URL, and that one of its servers runs and takes writes"
        ) from error
    version = connection.get_server_version()
    if version.major < 15:
        await connection.close()
        raise DatabaseUnusable(f"PostgreSQL {version.major} is too old; version 15 or newer is needed")
    return connection


def pool_of_readers(url: str) -> Pool:
    """Reads go to the primary too. Connections are opened as they are needed."""
    connect_to_primary: Any = _connect_to_primary  # It says for itself what a pool would have it say.
    return asyncpg.create_pool(
        url,
        min_size=0,
        max_size=READERS,
        connect=connect_to_primary,
        init=_prepare,
        reset=_as_it_is,
        server_settings=_SETTINGS,
    )


async def discard(connection: Connection) -> None:
    """Closes a connection that may not answer any more."""
    try:
        async with asyncio.timeout(1):
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        connection.terminate()


async def _prepare(connection: Connection) -> None:
    # Acknowledged means on disk, whatever the database's own default. Other values than `off` wait for the disk.
    await connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )


async def _as_it_is(connection: Connection) -> None:
    """Nothing that a reader does has to be undone: a round trip less for each read."""
