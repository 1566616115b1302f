"""Group commit: all operations that come in while a transaction is under way become the next one.

A transaction begins by locking the runs of all its operations, in order. Batches of records, of which there are most,
are then stored together: a handful of statements however many they are.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.store.commit_report import CommitReport
from midstream_server.store.postgres.append import AppendCall, append_all
from midstream_server.store.postgres.connections import ANSWER_SECONDS, Connection, as_refusal, discard, is_away
from midstream_server.store.postgres.notice import CHANNEL, encode
from midstream_server.store.postgres.transaction import Name, Transaction

T = TypeVar("T")

Operation = Callable[[Transaction], Awaitable[T]]

_MAX_WEIGHT = 1_000
"""Records in one transaction, so that no other replica waits long for its locks."""
_ATTEMPTS = 5

_COLLISIONS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.UniqueViolationError)
"""Another replica was in the way: the operation is to be done again, on what that one has left."""


@dataclass(slots=True)
class _Pending:
    operation: Operation[Any] | AppendCall
    names: Sequence[Name]
    numbers: Sequence[int]
    weight: int
    done: asyncio.Future[Any]
    alone: bool
    attempts: int = 0


class GroupCommit:
    """Runs operations in the order of their submission, many in one transaction."""

    def __init__(
        self,
        connection: Connection,
        connect: Callable[[], Awaitable[Connection]],
        on_commit: Callable[[CommitReport], None],
    ) -> None:
        self._connection: Connection | None = connection
        self._connect = connect
        self._on_commit = on_commit
        self._waiting: deque[_Pending] = deque()
        self._work = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="group-commit")

    @property
    def process_id(self) -> int | None:
        """PostgreSQL's number of the connection: what comes from it is told to this replica's watchers already."""
        return None if self._connection is None else self._connection.get_server_pid()

    def submit(
        self,
        operation: Operation[T],
        *,
        names: Sequence[Name] = (),
        numbers: Sequence[int] = (),
        weight: int = 1,
        alone: bool = False,
    ) -> asyncio.Future[T]:
        """Queues an operation; the future has its result once it is on disk.

        `names` and `numbers` are of the runs that it works on: they are locked before it runs. `alone`: it has a
        transaction of its own, since it waits for other locks too.

        An operation that raises `Refused` must not have written anything. It may be run again, where another
        operation of its transaction failed. Cancelling the future does not take the operation back.
        """
        return self._submit(operation, names, numbers, weight, alone=alone)

    def append(self, call: AppendCall) -> asyncio.Future[Any]:
        """Queues a batch of records; the future has its outcomes once they are on disk."""
        return self._submit(call, [(call.namespace, call.run_id)], (), len(call.drafts), alone=False)

    def _submit(
        self,
        operation: Operation[T] | AppendCall,
        names: Sequence[Name],
        numbers: Sequence[int],
        weight: int,
        *,
        alone: bool,
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closed:
            done.set_exception(errors.store_unavailable("the store is closed"))
            return done
        self._waiting.append(_Pending(operation, names, numbers, weight, done, alone))
        self._work.set()
        return done

    async def close(self) -> None:
        """Completes everything that was submitted."""
        self._closed = True
        self._work.set()
        await asyncio.shield(self._task)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                if self._closed:
                    break
                self._work.clear()
                await self._work.wait()
                continue
            await self._transact(self._next_group())
        if self._connection is not None:
            await discard(self._connection)

    def _next_group(self) -> list[_Pending]:
        group: list[_Pending] = []
        weight = 0
        while self._waiting and (not group or weight + self._waiting[0].weight <= _MAX_WEIGHT):
            if group and (group[0].alone or self._waiting[0].alone):
                break
            pending = self._waiting.popleft()
            group.append(pending)
            weight += pending.weight
        return group

    async def _transact(self, group: list[_Pending]) -> None:
        for pending in group:
            pending.attempts += 1
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            try:
                self._connection = await self._connect()
            except Exception as error:
                _settle_all(group, as_refusal(error))
                return
        tx = Transaction(self._connection)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                results, seconds = await self._in_transaction(tx, group)
        except Exception as error:
            if tx.committing and is_away(error):
                await self._give_up_connection()
                _call_all(tx.on_doubt)
                # It may be on disk: whoever watches looks.
                self._report(CommitReport(len(group), 0.0, tx.changes))
                _settle_all(group, as_refusal(error))
                return
            await self._roll_back(error)
            _call_all(tx.on_rollback)
            self._failed(group, error)
        else:
            # Readers first: a record is on its way to its handler before its sender hears of it.
            _call_all(tx.on_commit)
            self._report(CommitReport(len(group), seconds, tx.changes))
            for pending, result in zip(group, results, strict=True):
                _settle(pending, result)

    async def _in_transaction(self, tx: Transaction, group: list[_Pending]) -> tuple[list[Any], float]:
        await tx.execute("BEGIN")
        await tx.lock(
            {name for pending in group for name in pending.names}, {no for pending in group for no in pending.numbers}
        )
        results = await _run_all(tx, group)
        for prepare in tx.before_commit:
            await prepare()
        payloads = encode(tx.notice())
        if payloads:
            await tx.fetch("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", CHANNEL, payloads)
        began = time.perf_counter()
        tx.committing = True
        status = await tx.execute("COMMIT")
        if status != "COMMIT":
            raise asyncpg.InFailedSQLTransactionError(f"COMMIT was answered by {status}")
        return results, time.perf_counter() - began

    async def _roll_back(self, error: Exception) -> None:
        if self._connection is None or is_away(error):
            await self._give_up_connection()
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            await self._give_up_connection()

    async def _give_up_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await discard(connection)

    def _failed(self, group: list[_Pending], error: Exception) -> None:
        """Nothing of the group is on disk. What may succeed is tried again; each alone, where one broke the others."""
        if is_away(error):
            # A connection that broke while nothing was asked of it is noticed only now: the next one may do.
            if isinstance(error, TimeoutError) or group[0].attempts > 1:
                _settle_all(group, as_refusal(error))
            else:
                self._waiting.extendleft(reversed(group))
        elif len(group) > 1:
            for pending in group:
                pending.weight = _MAX_WEIGHT
            self._waiting.extendleft(reversed(group))
        elif isinstance(error, _COLLISIONS) and group[0].attempts < _ATTEMPTS:
            self._waiting.appendleft(group[0])
        elif isinstance(error, _COLLISIONS):
            _settle_all(group, errors.store_unavailable(f"other servers were in the way: {error}"))
        else:
            _settle_all(group, error)

    def _report(self, report: CommitReport) -> None:
        try:
            self._on_commit(report)
        except Exception as error:
            # What is on disk is acknowledged, whatever becomes of the news of it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a watcher of commits failed", "exception": error}
            )


async def _run_all(tx: Transaction, group: list[_Pending]) -> list[Any]:
    """Batches of records are kept back and stored together, for as long as nothing else concerns their runs."""
    results: dict[int, Any] = {}
    kept: dict[int, AppendCall] = {}
    concerned: set[Name] = set()

    async def store_kept() -> None:
        results.update(zip(kept, await append_all(tx, list(kept.values())), strict=True))
        kept.clear()
        concerned.clear()

    for index, pending in enumerate(group):
        if isinstance(pending.operation, AppendCall):
            kept[index] = pending.operation
            concerned.update(pending.names)
            continue
        names = {*pending.names, *((run.namespace, run.id) for no in pending.numbers if (run := tx.run(no)))}
        if not names or not concerned.isdisjoint(names):
            await store_kept()
        try:
            results[index] = await pending.operation(tx)
        except Refused as refusal:
            results[index] = refusal
    await store_kept()
    return [results[index] for index in range(len(group))]


def _call_all(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()


def _settle_all(group: list[_Pending], result: BaseException) -> None:
    for pending in group:
        _settle(pending, result)


def _settle(pending: _Pending, result: Any) -> None:
    if pending.done.done():
        return
    if isinstance(result, BaseException):
        pending.done.set_exception(result)
    else:
        pending.done.set_result(result)
