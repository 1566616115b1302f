"""The engines that the contract suite runs against, and short names for what its tests do all the time."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import apsw

from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Draft, StoredRecord
from midstream_server.domain.run import Kind, Run, State
from midstream_server.store import CommitReport, HandlerFailure, NewRun, Page, Store
from midstream_server.store.credentials import CredentialStore
from midstream_server.store.managed import NO_SEATS, ManagedStore, Seats
from midstream_server.store.postgres import PostgresStore
from midstream_server.store.schemas import SchemaStore
from midstream_server.store.sqlite import SqliteStore
from support.postgres import Databases, asked

NAMESPACE = "default"
NOW_US = 1_767_225_600_000_000
SECOND_US = 1_000_000
MIB = 1024 * 1024
MUCH = 1 << 40

OnCommit = Callable[[CommitReport], None]


def ignore(report: CommitReport) -> None:
    """For tests that do not look at commits."""


class WholeStore(Store, Protocol):
    """A store with what workers need of it."""

    @property
    def managed(self) -> ManagedStore: ...

    @property
    def credentials(self) -> CredentialStore: ...

    @property
    def schemas(self) -> SchemaStore: ...


class Engine(Protocol):
    """A kind of store, with a database of the test's own."""

    async def open(
        self, *, limits: Limits = ..., periods: Periods = ..., on_commit: OnCommit = ..., seats: Seats = ...
    ) -> WholeStore:
        """Opens the same database every time. The test closes the store."""
        ...

    def size_bytes(self) -> int:
        """What the database takes of the disk, when the store is closed and the engine has tidied up."""
        ...

    def stored_state(self, run_id: str) -> State:
        """A run's state as another process would see it at this moment."""
        ...


class SqliteEngine:
    def __init__(self, directory: Path) -> None:
        self.database = directory / "midstream.db"

    async def open(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        periods: Periods = Periods(),  # noqa: B008
        on_commit: OnCommit = ignore,
        seats: Seats = NO_SEATS,
    ) -> SqliteStore:
        return SqliteStore(self.database, limits=limits, periods=periods, on_commit=on_commit, seats=seats)

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.database.parent.glob("midstream.db*"))

    def stored_state(self, run_id: str) -> State:
        connection = apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return State(connection.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).get)
        finally:
            connection.close()


class PostgresEngine:
    def __init__(self, url: str) -> None:
        self.url = url

    async def open(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        periods: Periods = Periods(),  # noqa: B008
        on_commit: OnCommit = ignore,
        seats: Seats = NO_SEATS,
    ) -> PostgresStore:
        return await PostgresStore.open(self.url, limits=limits, periods=periods, on_commit=on_commit, seats=seats)

    def size_bytes(self) -> int:
        size = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
        asked(self.url, lambda connection: connection.execute("VACUUM"))
        bytes_: int = asked(self.url, lambda connection: connection.fetchval(size))
        return bytes_

    def stored_state(self, run_id: str) -> State:
        return State(asked(self.url, lambda to: to.fetchval("SELECT state FROM runs WHERE id = $1", run_id)))


@contextmanager
def sqlite(directory: Path, postgres: Databases) -> Iterator[Engine]:
    yield SqliteEngine(directory)


@contextmanager
def postgres(directory: Path, postgres: Databases) -> Iterator[Engine]:
    with postgres.one() as url:
        yield PostgresEngine(url)


ENGINES = {
    "sqlite": sqlite,
    "postgres": postgres,
}


def draft(
    payload: bytes = b"p", *, key: str | None = None, size: int | None = None, flaw: Refused | None = None
) -> Draft:
    return Draft(key, payload, b"+envelope", len(payload) if size is None else size, flaw)


def drafts(count: int, *, keys: str | None = None, size: int = 1) -> list[Draft]:
    """`count` drafts with different payloads; with `keys`, each with a key of its own that begins so."""
    return [
        draft(b"%d" % number, key=None if keys is None else f"{keys}{number}", size=size) for number in range(count)
    ]


def new_run(
    run_id: str = "run",
    *,
    namespace: str = NAMESPACE,
    task: str = "task",
    kind: Kind = Kind.ATTACHED,
    digest: bytes = b"digest",
    compare_content: bool = True,
    max_duration_us: int | None = None,
    first_records: Sequence[tuple[str, Draft]] = (),
    policies: Mapping[str, Policy] = MappingProxyType({}),
) -> NewRun:
    return NewRun(
        namespace=namespace,
        run_id=run_id,
        task=task,
        kind=kind,
        spec=b"spec of " + run_id.encode(),
        digest=digest,
        compare_content=compare_content,
        max_duration_us=max_duration_us,
        first_records=first_records,
        policies=policies,
    )


async def create(
    store: Store,
    run_id: str = "run",
    *,
    kind: Kind = Kind.ATTACHED,
    task: str = "task",
    namespace: str = NAMESPACE,
    max_duration_us: int | None = None,
    now_us: int = NOW_US,
) -> Run:
    new = new_run(run_id, kind=kind, task=task, namespace=namespace, max_duration_us=max_duration_us)
    run, created = await store.create_run(new, now_us=now_us)
    assert created
    return run


async def append(
    store: Store,
    *batch: Draft,
    run_id: str = "run",
    stream_id: str = "s",
    policy: Policy = UNDECLARED,
    now_us: int = NOW_US,
) -> list[Accepted | Refused]:
    return await store.append(NAMESPACE, run_id, stream_id, batch, now_us=now_us, policy=policy)


async def fill(store: Store, count: int, *, run_id: str = "run", stream_id: str = "s") -> None:
    """Stores records with the payloads 0, 1, 2..."""
    assert short(await append(store, *drafts(count), run_id=run_id, stream_id=stream_id)) == list(range(1, count + 1))


async def hold(store: Store, *, run_id: str = "run", stream_id: str = "s") -> int:
    """Becomes the holder; returns its epoch."""
    held = await store.hold(NAMESPACE, run_id, stream_id, holder_epoch=0, after_seq=None)
    return held.holder_epoch


async def ack(
    store: Store,
    through_seq: int,
    *,
    epoch: int,
    run_id: str = "run",
    stream_id: str = "s",
    delivered_seq: int | None = None,
    failures: Sequence[HandlerFailure] = (),
    now_us: int = NOW_US,
) -> int:
    return await store.ack(
        NAMESPACE,
        run_id,
        stream_id,
        holder_epoch=epoch,
        through_seq=through_seq,
        delivered_seq=delivered_seq,
        failures=failures,
        now_us=now_us,
    )


async def page(
    store: Store,
    run: Run,
    stream_id: str | None = None,
    *,
    after: int = 0,
    max_records: int = 1_000,
    max_bytes: int = MUCH,
) -> Page:
    found = await store.read_log(run.no, stream_id, after_offset=after, max_records=max_records, max_bytes=max_bytes)
    assert found is not None
    return found


async def purge_all(store: Store, *, now_us: int, limit: int = 500) -> int:
    """Until nothing is left to delete; returns the number of slices."""
    slices = 1
    while await store.purge(now_us=now_us, limit=limit):
        slices += 1
    return slices


def short(outcomes: Sequence[Accepted | Refused]) -> list[int | Reason]:
    """The seq of each accepted record, the reason of each refused one."""
    return [each.seq if isinstance(each, Accepted) else each.reason for each in outcomes]


def payloads(records: Sequence[StoredRecord]) -> list[bytes]:
    return [record.body.removesuffix(b"+envelope") for record in records]


async def refusal(call: Awaitable[object]) -> Reason:
    """Why the call is refused."""
    try:
        result = await call
    except Refused as refused:
        return refused.reason
    raise AssertionError(f"not refused: {result!r}")
