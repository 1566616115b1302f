"""The real server: its servicers, its store on disk, the real frames; only the transport is in memory."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw

from midstream.clock import ManualClock
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.record_pb2 import NewRecord, Payload, Record
from midstream.v1.run_pb2 import Run, RunSpec
from midstream.v1.run_service_pb2 import CancelRunRequest, StartRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest, SendOneResponse
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.run import EntryKind
from midstream_server.operations.core import Core
from midstream_server.server import Server, Servicers
from midstream_server.settings import Settings
from midstream_server.store.managed import StoredEntry
from midstream_server.transport.entries import entry as encode_entry
from midstream_server.transport.run_service import RunServicer
from midstream_server.transport.stream_service import StreamServicer
from midstream_server.transport.worker_service import WorkerServicer

_ENDED = (Run.STATE_COMPLETED, Run.STATE_FAILED, Run.STATE_CANCELLED, Run.STATE_EXPIRED)
_ROUNDS_TO_SETTLE = 12


class _ServerWithCore(Server):
    core: Core

    def _servicers(self, core: Core) -> Servicers:
        self.core = core
        return super()._servicers(core)


class RealServers:
    """One server in this process, on a loop of its own, for many trials."""

    def __init__(self, directory: Path) -> None:
        self.database = directory / "midstream.db"
        self.clock = ManualClock()
        self.policy = UNDECLARED
        self.loop = asyncio.new_event_loop()
        self._settings = Settings(
            database=self.database,
            listen="127.0.0.1:0",
            metrics_listen="",
            web_listen="",
            drain_seconds=1,
            lease=10_000_000,
        )

    def __enter__(self) -> Self:
        self.server = _ServerWithCore(self._settings, clock=self.clock)
        self.call(self.server.start())
        core, limits = self.server.core, self._settings.limits
        append = core.store.append

        async def append_by_policy(*arguments: Any, **options: Any) -> Any:
            """Which streams of a run drop is a trial's choice; a declaration would hold for all runs."""
            return await append(*arguments, **{**options, "policy": self.policy})

        core.store.append = append_by_policy  # type: ignore[method-assign]
        self.work = WorkerServicer(core, limits, lease_us=10_000_000)
        self.runs = RunServicer(core, limits)
        self.streams = StreamServicer(core, limits)
        self.read = apsw.Connection(str(self.database), flags=apsw.SQLITE_OPEN_READONLY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.read.close()
        self.call(self.server.stop())
        self.loop.close()

    def call(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    async def settle(self) -> None:
        """Returns when what was begun is on disk and has been told."""
        for _ in range(2):
            for _ in range(_ROUNDS_TO_SETTLE):
                await asyncio.sleep(0)
            # Goes through the writer behind everything that was submitted before.
            await self.server.core.managed.renew_lease(-1, lease_until_us=0)


class RealConnection:
    """A worker's call."""

    def __init__(self, servers: RealServers, worker_id: str) -> None:
        self.worker_id = worker_id
        self.inbox: deque[bytes] = deque()
        self._requests: asyncio.Queue[WorkRequest | None] = asyncio.Queue()
        self._servers = servers
        self._pump = servers.loop.create_task(self._receive())

    def write(self, frame: bytes) -> None:
        self._requests.put_nowait(WorkRequest.FromString(frame))

    async def close(self) -> None:
        self._pump.cancel()
        await asyncio.wait([self._pump])

    async def _receive(self) -> None:
        async for response in self._servers.work.Work(self._each_request(), None):
            self.inbox.append(response if isinstance(response, bytes) else response.SerializeToString())

    async def _each_request(self) -> AsyncIterator[WorkRequest]:
        while (request := await self._requests.get()) is not None:
            yield request


class RealRun:
    """One run of it, with the model's interface."""

    def __init__(
        self,
        servers: RealServers,
        run_id: str,
        spec: RunSpec,
        *,
        deadline_us: int | None,
        keeps: Mapping[str, int],
    ) -> None:
        self.run_id = run_id
        self.finished_at = 0
        self.counts: Counter[str] = Counter()
        self._servers = servers
        self._connections: list[RealConnection] = []
        self._finishes: dict[int, int] = {}
        self._keeps = keeps
        if deadline_us is not None:
            spec.max_duration.FromMicroseconds(deadline_us)
        self._do(servers.runs.StartRun(StartRunRequest(run_id=run_id, spec=spec), None))
        self._no = self._row("SELECT no FROM runs WHERE id = ?", run_id)[0]

    @property
    def now_us(self) -> int:
        return self._servers.clock.now_us()

    @property
    def state(self) -> Run.State.ValueType:
        return self._row("SELECT state FROM runs WHERE no = ?", self._no)[0]  # type: ignore[no-any-return]

    @property
    def ended(self) -> bool:
        return self.state in _ENDED

    @property
    def epoch(self) -> int:
        return int(self._row("SELECT epoch FROM runs WHERE no = ?", self._no)[0])

    @property
    def generation(self) -> int:
        return int(self._row("SELECT generation FROM runs WHERE no = ?", self._no)[0])

    @property
    def entries(self) -> list[Entry]:
        rows: Any = self._servers.read.execute(
            "SELECT offset, kind, at_us, body, streams.id, seq FROM entries LEFT JOIN streams "
            "ON streams.run = entries.run AND streams.no = entries.stream WHERE entries.run = ? ORDER BY offset",
            (self._no,),
        )
        stored = (StoredEntry(offset, EntryKind(kind), *rest) for offset, kind, *rest in rows)
        return [Entry.FromString(encode_entry(self.run_id, each)) for each in stored]

    @property
    def cursors(self) -> dict[str, int]:
        return dict(self._rows("SELECT id, cursor FROM streams WHERE run = ?", self._no))

    @property
    def failures(self) -> list[tuple[str, int, str]]:
        return self._rows(
            "SELECT streams.id, seq, handler FROM handler_failures JOIN streams ON streams.run = handler_failures.run "
            "AND streams.no = handler_failures.stream WHERE handler_failures.run = ?",
            self._no,
        )

    @property
    def outputs(self) -> list[Record]:
        rows = self._rows(
            "SELECT body, seq, id FROM outputs JOIN output_streams ON output_streams.run = outputs.run "
            "AND output_streams.no = outputs.stream WHERE outputs.run = ? ORDER BY offset",
            self._no,
        )
        records = []
        for body, seq, stream_id in rows:
            record = Record.FromString(body)
            record.seq, record.stream_id = seq, stream_id
            records.append(record)
        return records

    def send(self, stream_id: str, value: str, key: str) -> int | None:
        record = NewRecord(payload=Payload(json=value), idempotency_key=key)
        request = SendOneRequest(run_id=self.run_id, stream_id=stream_id, records=[record])
        keep = self._keeps.get(stream_id)
        self._servers.policy = UNDECLARED if keep is None else Policy(None, keep, True, False)
        answer = self._do(self._servers.streams.SendOne(request, None))
        response = SendOneResponse.FromString(answer) if isinstance(answer, bytes) else answer
        [receipt] = response.receipts
        return int(receipt.accepted.seq) if receipt.HasField("accepted") else None

    def cancel(self) -> None:
        self._do(self._servers.runs.CancelRun(CancelRunRequest(run_id=self.run_id), None))

    def advance(self, us: int) -> None:
        self._do(self._servers.server.advance(us))

    def wakes_nobody(self) -> bool:
        state, checkpoint = self._row("SELECT state, checkpoint FROM runs WHERE no = ?", self._no)
        if state != Run.STATE_SUSPENDED:
            return False
        applied = Checkpoint.FromString(checkpoint).applied_offset
        unapplied = self._rows(
            "SELECT 1 FROM entries LEFT JOIN streams ON streams.run = entries.run AND streams.no = entries.stream "
            "JOIN runs ON runs.no = entries.run "
            "WHERE entries.run = ? AND offset > ? "
            "AND (entries.kind NOT IN (?, ?) OR streams.listening_epoch = runs.epoch)",
            *(self._no, applied, int(EntryKind.RECORD), int(EntryKind.RECORDS_DROPPED)),
        )
        return bool(unapplied)

    def overdue(self) -> set[int]:
        if self.state != Run.STATE_SUSPENDED:
            return set()
        rows = self._rows("SELECT operation FROM operation_timers WHERE run = ? AND due_us <= ?", self._no, self.now_us)
        return {operation for (operation,) in rows}

    def connect(self, opening: bytes) -> RealConnection:
        opened = WorkRequest.FromString(opening)
        connection = RealConnection(self._servers, opened.open.worker_id)
        self._connections.append(connection)
        connection.write(opening)
        self._do(asyncio.sleep(0))
        return connection

    def disconnect(self, connection: RealConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._do(connection.close())

    def write(self, connection: RealConnection, frame: bytes) -> None:
        request = WorkRequest.FromString(frame)
        if request.HasField("finish"):
            self._finishes[request.finish.epoch] = request.finish.checkpoint.applied_offset
        connection.write(frame)
        self._do(asyncio.sleep(0))
        for response in connection.inbox:
            answer = WorkResponse.FromString(response)
            if answer.HasField("finished"):
                self.finished_at = self._finishes[answer.finished.epoch]

    def close(self) -> None:
        for connection in tuple(self._connections):
            self.disconnect(connection)

    def _do(self, coroutine: Any) -> Any:
        async def do_and_settle() -> Any:
            answer = await coroutine
            await self._servers.settle()
            return answer

        return self._servers.call(do_and_settle())

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return list(self._servers.read.execute(sql, values))

    def _row(self, sql: str, *values: Any) -> Any:
        return self._rows(sql, *values)[0]
