"""A model of the server's rules for one managed run, in memory, speaking the real frames: DESIGN, sections 2 and 4."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from midstream.runtime.times import to_timestamp, to_us
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.record_pb2 import Payload, Record
from midstream.v1.run_pb2 import Run, RunSpec
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from support.replay.outputs import ModelOutputs

RUN_ID = "run_fuzz"
LEASE_US = 10_000_000
GRACE_US = 30_000_000


@dataclass(frozen=True)
class Omissions:
    """Rules that a planted bug leaves out."""

    epoch_check: bool = False
    suspend_check: bool = False
    due_timers_first: bool = False
    rewind: bool = False
    output_once: bool = False
    replay_before_drop: bool = False


@dataclass
class ModelConnection:
    """A worker's call. Frames for the worker wait in `inbox` until the test lets it read them."""

    worker_id: str
    credit: int = 0
    epoch: int = 0
    generation: int = 0
    sent_offset: int = 0
    following: bool = False
    inbox: deque[bytes] = field(default_factory=deque)


class ModelServer:
    """One run and the workers that come for it.

    `keeps`: how many unread records a stream keeps that drops its oldest, by its id.
    """

    def __init__(
        self,
        rng: Random,
        spec: RunSpec,
        *,
        deadline_us: int | None,
        omissions: Omissions,
        keeps: Mapping[str, int],
    ) -> None:
        self.run_id = RUN_ID
        self.now_us = 1_767_225_600_000_000
        self.state = Run.STATE_QUEUED
        self.epoch = 0
        self.generation = 0
        self.entries: list[Entry] = []
        self.cursors: dict[str, int] = {}
        self.outcome_state = Run.STATE_UNSPECIFIED
        self.finished_at = 0
        self.counts: Counter[str] = Counter()
        self.failures: list[tuple[str, int, str]] = []
        self._rng = rng
        self._omit = omissions
        self._keeps = keeps
        self._outputs = ModelOutputs(no_rewind=omissions.rewind, stored_again=omissions.output_once)
        self._connections: list[ModelConnection] = []
        self._leases: dict[str, int] = {}
        self._holder = ""
        self._keys: dict[str, int] = {}
        self._asked: set[tuple[int, str, int, int]] = set()
        self._seqs: Counter[str] = Counter()
        self.listening: frozenset[str] = frozenset()
        self.timers: dict[int, int] = {}
        self.suspended_at = 0
        self._suspended: Checkpoint | None = None
        self._generation_offset = 0
        self._replay_cursors: dict[str, int] = {}
        self._cancel_us: int | None = None
        self._deadline_us = None if deadline_us is None else self.now_us + deadline_us
        self._deadline_passed = False
        self._append(Entry(created=Entry.Created(spec=spec)))

    @property
    def ended(self) -> bool:
        return self.state in (Run.STATE_COMPLETED, Run.STATE_FAILED, Run.STATE_CANCELLED, Run.STATE_EXPIRED)

    @property
    def outputs(self) -> list[Record]:
        return self._outputs.records

    # From outside.

    def send(self, stream_id: str, value: str, key: str) -> int | None:
        """The record's seq; None where the run has ended."""
        if key in self._keys:
            return self._keys[key]
        if self.ended:
            return None
        woken = self._fire_due()
        self._seqs[stream_id] += 1
        seq = self._keys[key] = self._seqs[stream_id]
        self._make_room(stream_id, seq)
        record = Record(
            run_id=RUN_ID, stream_id=stream_id, seq=seq, offset=len(self.entries) + 1, payload=Payload(json=value)
        )
        record.accept_time.CopyFrom(to_timestamp(self._time()))
        self._append(Entry(record=record))
        if self.state == Run.STATE_SUSPENDED and (woken or stream_id in self.listening):
            self._make_runnable()
        return seq

    def _make_room(self, stream_id: str, seq: int) -> None:
        """What the server knows to be consumed it does not drop; the task may have taken more."""
        cursor, last_seq = self.cursors.get(stream_id, 0), seq - self._keeps.get(stream_id, seq)
        if last_seq > cursor:
            self.counts["dropped"] += last_seq - cursor
            self.cursors[stream_id] = last_seq
            dropped = Entry.RecordsDropped(stream_id=stream_id, first_seq=cursor + 1, last_seq=last_seq)
            self._append(Entry(records_dropped=dropped))

    def cancel(self, *, deadline_passed: bool = False) -> None:
        if self.ended or self._cancel_us is not None:
            return
        self._deadline_passed = deadline_passed
        if not any(entry.HasField("started") for entry in self.entries):
            self._end(Run.STATE_EXPIRED if deadline_passed else Run.STATE_CANCELLED)
            return
        self._fire_due()
        self._cancel_us = self.now_us
        self._append(Entry(cancel_requested=Entry.CancelRequested(deadline_passed=deadline_passed)))
        if self.state == Run.STATE_SUSPENDED:
            self._make_runnable()

    def advance(self, us: int) -> None:
        self.now_us += us
        for worker_id, until_us in list(self._leases.items()):
            if until_us <= self.now_us:
                del self._leases[worker_id]
                if self.state == Run.STATE_RUNNING and self._holder == worker_id:
                    self.counts["lease lapses"] += 1
                    self._make_runnable()
        if self.ended:
            return
        if self._cancel_us is not None and self.now_us >= self._cancel_us + GRACE_US:
            self.counts["grace ran out"] += 1
            self._end(Run.STATE_EXPIRED if self._deadline_passed else Run.STATE_CANCELLED)
        elif self._deadline_us is not None and self.now_us >= self._deadline_us:
            self.cancel(deadline_passed=True)
        elif self._fire_due():
            self._make_runnable()

    def wakes_nobody(self) -> bool:
        """True where a suspended run's log holds something that should have woken it."""
        return self.state == Run.STATE_SUSPENDED and self._blocked_by(self.suspended_at, self.listening)

    def overdue(self) -> set[int]:
        """The timers of a suspended run that are due."""
        if self.state != Run.STATE_SUSPENDED:
            return set()
        return {operation for operation, due_us in self.timers.items() if due_us <= self._time()}

    # From workers.

    def connect(self, opening: bytes) -> ModelConnection:
        request = WorkRequest.FromString(opening).open
        connection = ModelConnection(request.worker_id, credit=request.credit)
        for other in [each for each in self._connections if each.worker_id == request.worker_id]:
            self._connections.remove(other)
        self._connections.append(connection)
        self._leases[request.worker_id] = self.now_us + LEASE_US
        self._tell(connection, WorkResponse(opened=WorkResponse.Opened()))
        held = next(iter(request.held), None)
        if held is not None and self._is_fenced(held.epoch):
            self._tell(connection, WorkResponse(fenced=WorkResponse.Fenced(run_id=RUN_ID, epoch=held.epoch)))
        elif held is not None:
            connection.epoch, connection.sent_offset, connection.following = held.epoch, held.received_offset, True
            connection.generation = self.generation if held.received_offset >= self._generation_offset else -1
            self._send_entries(connection)
        if self.state == Run.STATE_RUNNING and self._holder == request.worker_id and not connection.following:
            self._make_runnable()
        self._dispatch()
        return connection

    def close(self) -> None:
        """Nothing to do: there is nothing but memory."""

    def disconnect(self, connection: ModelConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)

    def write(self, connection: ModelConnection, frame: bytes) -> None:
        """Applies a frame of the worker."""
        request = WorkRequest.FromString(frame)
        kind = request.WhichOneof("frame")
        if connection not in self._connections:
            return
        if kind == "heartbeat":
            if connection.worker_id in self._leases:
                self._leases[connection.worker_id] = self.now_us + LEASE_US
            return
        if kind == "credit":
            connection.credit += request.credit.runs
            self._dispatch()
            return
        body = getattr(request, kind or "")
        if self._is_fenced(body.epoch):
            self.counts["fenced"] += 1
            self._tell(connection, WorkResponse(fenced=WorkResponse.Fenced(run_id=RUN_ID, epoch=body.epoch)))
            if connection.epoch == body.epoch:
                connection.following = False
            return
        if kind == "output":
            self._on_output(connection, request.output)
            return
        if body.checkpoint.applied_offset < self._generation_offset:
            self.counts["of an earlier generation"] += 1  # said again after a reconnect; the new one is on its way
            return
        # Whatever becomes of the request: what the task has consumed, it has consumed.
        self._note(body.checkpoint)
        getattr(self, f"_on_{kind}")(connection, body)

    def _on_append(self, connection: ModelConnection, frame: WorkRequest.Append) -> None:
        entry = Entry.FromString(frame.entry.SerializeToString())
        kind = entry.WhichOneof("fact") or ""
        fact = getattr(entry, kind)
        if kind == "timer_fired" and to_us(fact.due_time) > self._time():
            self.counts["early"] += 1
            early = WorkResponse.Early(run_id=RUN_ID, epoch=frame.epoch, operation=fact.operation)
            early.server_time.CopyFrom(to_timestamp(self._time()))
            self._tell(connection, WorkResponse(early=early))
            return
        asked = (self.generation, kind, fact.operation, fact.attempt if kind == "step_ended" else 0)
        if asked in self._asked:
            self.counts["asked twice"] += 1
            return
        self._asked.add(asked)
        entry.checkpoint.CopyFrom(frame.checkpoint)
        if kind == "step_ended":
            self._outputs.attempt_ended(self.generation, frame.epoch, fact.operation, fact.attempt)
        self._append(entry)

    def _on_output(self, connection: ModelConnection, frame: WorkRequest.Output) -> None:
        before = self._outputs.rewinds
        self._outputs.append(self.generation, frame.epoch, frame.records)
        self.counts["rewinds"] += self._outputs.rewinds - before
        stored = WorkResponse.OutputStored(run_id=RUN_ID, epoch=frame.epoch, number=frame.number)
        self._tell(connection, WorkResponse(output_stored=stored))

    def _on_progress(self, connection: ModelConnection, frame: WorkRequest.Progress) -> None:
        """Its checkpoint is all there is to it."""

    def _on_suspend(self, connection: ModelConnection, frame: WorkRequest.Suspend) -> None:
        timers = {timer.operation: to_us(timer.due_time) for timer in frame.timers}
        applied = frame.checkpoint.applied_offset
        blocked = self._blocked_by(applied, frozenset(frame.listening))
        due = any(due_us <= self._time() for due_us in timers.values())
        if (blocked or due) and not self._omit.suspend_check:
            self.counts["suspend refused"] += 1
            refused = WorkResponse.SuspendRefused(run_id=RUN_ID, epoch=frame.epoch)
            refused.server_time.CopyFrom(to_timestamp(self._time()))
            self._tell(connection, WorkResponse(suspend_refused=refused))
            return
        self.counts["suspended"] += 1
        self.state = Run.STATE_SUSPENDED
        self.listening, self.timers, self.suspended_at = frozenset(frame.listening), timers, applied
        self._suspended = Checkpoint.FromString(frame.checkpoint.SerializeToString())
        connection.following = False
        self._tell(connection, WorkResponse(suspended=WorkResponse.Suspended(run_id=RUN_ID, epoch=frame.epoch)))

    def _on_finish(self, connection: ModelConnection, frame: WorkRequest.Finish) -> None:
        self.finished_at = frame.checkpoint.applied_offset
        outcome = frame.outcome.WhichOneof("outcome")
        state = {"result": Run.STATE_COMPLETED, "failure": Run.STATE_FAILED}.get(outcome or "", Run.STATE_CANCELLED)
        if state == Run.STATE_CANCELLED and self._deadline_passed:
            state = Run.STATE_EXPIRED
        connection.following = False
        self._end(state)
        self._tell(connection, WorkResponse(finished=WorkResponse.Finished(run_id=RUN_ID, epoch=frame.epoch)))

    def _on_restart(self, connection: ModelConnection, frame: WorkRequest.Restart) -> None:
        self.counts["restarts"] += 1
        self.generation += 1
        self._generation_offset = len(self.entries) + 1
        self._replay_cursors = dict(self.cursors)
        self._suspended = None
        restarted = Entry.Restarted(generation=self.generation, payload=frame.payload)
        self._append(Entry(restarted=restarted, checkpoint=frame.checkpoint))

    # Inside.

    def _time(self) -> int:
        return max(self.now_us, to_us(self.entries[-1].append_time) if self.entries else 0)

    def _append(self, entry: Entry) -> None:
        entry.append_time.CopyFrom(to_timestamp(self._time()))
        entry.offset = len(self.entries) + 1
        self.entries.append(entry)
        for connection in self._connections:
            if connection.following:
                self._send_entries(connection)

    def _is_fenced(self, epoch: int) -> bool:
        if self._omit.epoch_check and self.state == Run.STATE_RUNNING:
            return False
        return self.state != Run.STATE_RUNNING or epoch != self.epoch

    def _blocked_by(self, applied: int, listening: frozenset[str]) -> bool:
        return any(
            entry.record.stream_id in listening if entry.HasField("record") else not entry.HasField("records_dropped")
            for entry in self.entries[applied:]
        )

    def _fire_due(self) -> bool:
        if self.state != Run.STATE_SUSPENDED or (self._omit.due_timers_first and self._rng.random() < 0.7):
            return False
        due = sorted((due_us, operation) for operation, due_us in self.timers.items() if due_us <= self._time())
        for due_us, operation in due:
            fired = Entry.TimerFired(operation=operation, due_time=to_timestamp(due_us))
            self._append(Entry(timer_fired=fired))
            del self.timers[operation]
        self.counts["timers fired by the server"] += len(due)
        return bool(due)

    def _note(self, checkpoint: Checkpoint) -> None:
        for consumed in checkpoint.consumed:
            self.cursors[consumed.stream_id] = max(consumed.cursor, self.cursors.get(consumed.stream_id, 0))
        for failure in checkpoint.handler_failures:
            told = (failure.stream_id, failure.seq, failure.handler)
            if told not in self.failures:
                self.failures.append(told)

    def _make_runnable(self) -> None:
        self.state = Run.STATE_QUEUED
        self.timers, self.listening = {}, frozenset()
        self._dispatch()

    def _dispatch(self) -> None:
        takers = [each for each in self._connections if each.credit > 0 and each.worker_id in self._leases]
        if self.state != Run.STATE_QUEUED or not takers:
            return
        connection = self._rng.choice(takers)
        connection.credit -= 1
        if not any(entry.HasField("started") for entry in self.entries):
            self._append(Entry(started=Entry.Started(seed=b"seed")))
            self._generation_offset = 1
        self.epoch += 1
        self.state = Run.STATE_RUNNING
        self._holder = connection.worker_id
        self.counts["claims"] += 1
        connection.epoch, connection.generation, connection.following = self.epoch, self.generation, True
        connection.sent_offset = 0
        self._tell(connection, self._assignment())
        self._send_entries(connection)

    def _send_entries(self, connection: ModelConnection) -> None:
        if connection.generation != self.generation:
            connection.generation, connection.sent_offset = self.generation, 0
            self._tell(connection, self._assignment())
        for entry in self.entries[connection.sent_offset :]:
            left = entry.HasField("record") and entry.record.seq > self._replay_cursors.get(entry.record.stream_id, 0)
            if entry.offset >= self._generation_offset or left:
                if self._omit.replay_before_drop and self._is_dropped(entry):
                    entry = Entry(offset=entry.offset, append_time=entry.append_time)
                entries = WorkResponse.Entries(run_id=RUN_ID, epoch=connection.epoch, entries=[entry])
                self._tell(connection, WorkResponse(entries=entries))
        connection.sent_offset = len(self.entries)

    def _is_dropped(self, entry: Entry) -> bool:
        drops = (each.records_dropped for each in self.entries if each.HasField("records_dropped"))
        return any(
            drop.stream_id == entry.record.stream_id and drop.first_seq <= entry.record.seq <= drop.last_seq
            for drop in drops
        )

    def _assignment(self) -> WorkResponse:
        return WorkResponse(
            assigned=WorkResponse.Assigned(
                run_id=RUN_ID,
                epoch=self.epoch,
                last_offset=len(self.entries),
                generation=self.generation,
                suspended=self._suspended,
            )
        )

    def _end(self, state: Run.State.ValueType) -> None:
        self.state = state
        self._append(Entry(ended=Entry.Ended(state=state)))

    def _tell(self, connection: ModelConnection, frame: WorkResponse) -> None:
        connection.inbox.append(frame.SerializeToString())
