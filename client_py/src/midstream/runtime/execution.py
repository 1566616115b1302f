"""One generation of a run, rebuilt from its log and carried on, one entry at a time."""

import asyncio
from collections.abc import Iterable, Mapping
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import midstream.runtime.replaced  # noqa: F401 - asyncio's own would run in another order each time
from midstream import ambient
from midstream.errors import RecordInvalid
from midstream.runtime.context import Context
from midstream.runtime.errors import LANGUAGE, OtherRuntime, RecordUnreadable
from midstream.runtime.failures import failure_of
from midstream.runtime.loop import TurnLoop
from midstream.runtime.operations import Operations
from midstream.runtime.pending_step import PendingStep
from midstream.runtime.receiver import ManagedReceiver
from midstream.runtime.run_client import RunClient
from midstream.runtime.steps import Steps
from midstream.runtime.task_outputs import TaskOutputs
from midstream.runtime.timers import Timers
from midstream.runtime.times import to_us
from midstream.v1.entry_pb2 import Checkpoint, Consumed, Entry, SeqRange
from midstream.v1.record_pb2 import Payload
from midstream.v1.run_pb2 import Outcome

if TYPE_CHECKING:
    from midstream.client import Client
    from midstream.task import Task


_TIMED: Final = ("timer", "once", "wait")


class Restart(BaseException):
    """Leaves the task's function for `restart_with`."""


class Execution:
    """Applies entries; says what the task then waits for, and how it ended.

    The whole log may be applied to any generation: what belongs to earlier ones is skipped, but for the records that
    they left unconsumed. Nothing happens between two entries: steps are carried out, and timers watched, by the host,
    which asks the server for the entries that end them.
    """

    def __init__(self, task: "Task[Any, Any]", *, run_id: str, generation: int = 0) -> None:
        self.task = task
        self.run_id = run_id
        self.generation = generation
        self.applied_offset = 0
        self.replay_through = 0
        self.ended = False
        self.outcome: Outcome | None = None
        self.restart: Payload | None = None
        self._payload = Payload(json="null")
        self._seed = b""
        self._begun_offset = 0
        self._carried: list[Entry] = []
        self._main: asyncio.Task[Any] | None = None
        self._restart_requested: Payload | None = None
        self._closed = False
        self._leftover_cancelled = False

        self._operations = Operations()
        self._timers = Timers()
        self._loop = TurnLoop(self._operations, self._timers)
        self._loop.execution = self
        self._loop.quiet = lambda: self.replaying
        self._receiver = ManagedReceiver(run_id, self._operations, self._timers, self._loop)
        self.steps_issued = Steps(self._operations, self._loop, f"{run_id}:{generation}")
        self.client = RunClient(self)
        self._context = copy_context()
        self.outputs = TaskOutputs(self._operations)
        self._context.run(ambient.run_in_block.set, self._receiver)
        self._context.run(ambient.outputs_in_block.set, self.outputs)
        self._context.run(ambient.client_in_block.set, cast("Client", self.client))

    # What the host reads.

    @property
    def now_us(self) -> int:
        """The time of the entry that was applied last."""
        return self._loop.now_us

    @property
    def replaying(self) -> bool:
        """True while entries are applied that the host said, by `replay_through`, were applied before."""
        return self.applied_offset <= self.replay_through

    @property
    def steps(self) -> Mapping[int, PendingStep]:
        """What the host is to carry out, by operation."""
        return self.steps_issued.pending

    @property
    def cancelled_steps(self) -> set[int]:
        """Steps whose code, where it is running, is to be aborted at once. The host empties it."""
        return self.steps_issued.cancelled

    @property
    def timers(self) -> Mapping[int, int]:
        """When each armed timer is due, by operation, in microseconds since 1970."""
        return self._timers.due_us

    @property
    def listening(self) -> frozenset[str]:
        """The streams whose records change something."""
        return self._receiver.listening

    @property
    def suspendable(self) -> bool:
        """True where nothing is under way that needs this process, and something is waited for that does not."""
        return (
            self._main is not None
            and not self.ended
            and not self.steps_issued.pending
            and not self._receiver.pending_once
            and (self._receiver.pending_waits or bool(self._timers.due_us))
        )

    # What the host does.

    def apply(self, entry: Entry) -> None:
        """Takes one turn. Raises CannotGoOn, after which the execution is of no more use.

        Does nothing when the function has ended: a run ends at that offset, whatever comes behind it.
        """
        self.apply_all((entry,))

    def apply_all(self, entries: Iterable[Entry]) -> None:
        """As `apply` with one after the other, and quicker."""
        self._loop.turn(partial(self._apply_each, entries))

    def checkpoint(self) -> Checkpoint:
        """How far the task has come, and what has changed since the last call: send each one that you ask for."""
        checkpoint = Checkpoint(
            applied_offset=self.applied_offset,
            operations=self._operations.count,
            operations_hash=self._operations.hash,
        )
        for inbox in self._receiver.inboxes:
            cursor = inbox.buffer.tracker.cursor
            if cursor != inbox.reported_cursor:
                inbox.reported_cursor = cursor
                checkpoint.consumed.append(Consumed(stream_id=inbox.stream_id, cursor=cursor))
        if self._receiver.new_failures:
            checkpoint.handler_failures.extend(self._receiver.new_failures)
            self._receiver.new_failures.clear()
        return checkpoint

    def checkpoint_for_restart(self) -> Checkpoint:
        """As `checkpoint`, with all that was consumed of every stream: the next generation begins from it."""
        checkpoint = self.checkpoint()
        del checkpoint.consumed[:]
        for inbox in self._receiver.inboxes:
            tracker = inbox.buffer.tracker
            ranges = [SeqRange(first_seq=first, last_seq=last) for first, last in tracker.beyond]
            if tracker.cursor or ranges:
                checkpoint.consumed.add(stream_id=inbox.stream_id, cursor=tracker.cursor, beyond=ranges)
        return checkpoint

    def report_again(self, lost: Checkpoint) -> None:
        """The frame with this checkpoint did not arrive: the next one is to say what it said."""
        for consumed in lost.consumed:
            self._receiver.inbox(consumed.stream_id).reported_cursor = 0
        self._receiver.new_failures[:0] = lost.handler_failures

    def check(self, checkpoint: Checkpoint) -> None:
        """Compares with what another worker said, now or when that offset has been applied. Raises Diverged."""
        self._operations.check(checkpoint, applied_offset=self.applied_offset)
        if self.ended:
            self._operations.function_ended(self.applied_offset)

    def abandon(self) -> None:
        """Drops the task where it stands, as the end of its process would, though its `finally` blocks run.

        For hosts that share a process between runs, such as tests.
        """
        self.ended = True
        self._loop.abandon()

    # What the context asks for.

    def request_restart(self, state: Any) -> NoReturn:
        """Ends the function; a new generation begins with `state`. Raises RuntimeError outside the function itself."""
        if asyncio.current_task() is not self._main:
            raise RuntimeError("restart_with ends the task's function: call it there, not in a handler or another task")
        self._restart_requested = self.task.payload_codec.encode(state)
        raise Restart

    def _check(self, entry: Entry) -> None:
        # What was said about an earlier generation is not about these operations.
        if self._main is not None and entry.checkpoint.applied_offset >= self._begun_offset:
            self.check(entry.checkpoint)

    def _begins(self, entry: Entry, fact: str | None, offset: int) -> bool:
        """False for an entry of an earlier generation, from which only records are kept."""
        if fact == "created":
            if entry.created.spec.HasField("payload"):
                self._payload = entry.created.spec.payload
        elif fact == "started":
            self._seed = entry.started.seed
            _check_language(entry.started.runtime)
        if self._main is not None or self.generation == 0:
            if self.applied_offset and offset != self.applied_offset + 1:
                raise ValueError(f"expected the entry at offset {self.applied_offset + 1}, got {offset}")
            self.applied_offset = offset
            return True
        self.applied_offset = offset
        if fact == "restarted" and entry.restarted.generation == self.generation:
            return True
        if fact in ("record", "records_dropped"):
            self._carried.append(entry)
        return False

    def _apply_each(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.HasField("checkpoint"):
                self._check(entry)
            if self.ended:
                continue
            self._loop.now_us = to_us(entry.append_time)
            fact, offset = entry.WhichOneof("fact"), entry.offset
            if fact == "record" and self._main is not None and offset == self.applied_offset + 1:
                # Most of most logs: what `_begins` would find is inline.
                self.applied_offset = offset
                self._take_turn(entry, fact, offset)
            elif self._begins(entry, fact, offset):
                self._take_turn(entry, fact, offset)

    def _take_turn(self, entry: Entry, fact: str | None, offset: int) -> None:
        loop, receiver = self._loop, self._receiver
        self._apply_fact(entry)
        if fact != "record":
            loop.run_dry()
        main = self._main
        if main is not None:
            while receiver.woken and not main.done() and receiver.hand_out():
                loop.run_dry()
            receiver.turn_ended()
            if main.done():
                self._wind_up(main)
        if self.ended:
            self._operations.function_ended(offset)
        else:
            self._operations.turn_ended(offset)

    def _apply_fact(self, entry: Entry) -> None:
        fact = entry.WhichOneof("fact")
        if fact == "record":
            self._receiver.put(entry.record)
        elif fact == "records_dropped":
            self._receiver.drop(entry.records_dropped)
        elif fact == "step_ended":
            self.steps_issued.ended(entry.step_ended, offset=entry.offset, now_us=self.now_us)
        elif fact == "timer_fired":
            operation = entry.timer_fired.operation
            self._operations.expect(operation, _TIMED, "timer or a receive with a timeout", offset=entry.offset)
            self._timers.fire(operation)
        elif fact == "step_began":
            self.steps_issued.began(entry.step_began, offset=entry.offset)
        elif fact == "cancel_requested":
            self._cancel()
        elif fact == "started":
            if self.generation == 0:
                self._begin(entry.offset)
        elif fact == "restarted":
            if entry.restarted.generation == self.generation:
                _check_language(entry.restarted.runtime)
                self._payload = entry.restarted.payload
                # A later generation's log begins here: the seed must come from what is in it.
                self._seed = f"{self.run_id}:{self.generation}:{self.now_us}".encode()
                self._carry_over(entry.checkpoint)
                self._begin(entry.offset)
            else:
                self.ended = True

    def _begin(self, offset: int) -> None:
        """Calls the function."""
        self._begun_offset = offset
        self._main = self._loop.create_task(self._call(), name=self.task.name, context=self._context)

    async def _call(self) -> Any:
        return await self.task.call(Context(self, self._seed), self._payload)

    def _carry_over(self, checkpoint: Checkpoint) -> None:
        """Takes the records that the generations before left unconsumed."""
        for consumed in checkpoint.consumed:
            inbox = self._receiver.inbox(consumed.stream_id)
            inbox.buffer.start_behind(consumed.cursor)
            inbox.reported_cursor = consumed.cursor
            for beyond in consumed.beyond:
                inbox.buffer.tracker.skip(beyond.first_seq, beyond.last_seq)
        for entry in self._carried:
            if not self._is_consumed(entry):
                self._apply_fact(entry)
        self._carried.clear()

    def _is_consumed(self, entry: Entry) -> bool:
        record = entry.record
        return entry.HasField("record") and self._receiver.inbox(record.stream_id).buffer.tracker.is_finished(
            record.seq
        )

    def _cancel(self) -> None:
        """Raises CancelledError in the function, once, and in whatever awaits a step."""
        if self._main is None or self._receiver.cancel_requested:
            return
        self._receiver.cancel_requested = True
        if self._main.done():
            # Only handlers, and what clean-up the rest does, are still at work.
            for task in list(self._loop.tasks):
                task.cancel()
        else:
            self._main.cancel()
        self.steps_issued.cancel_all()

    def _wind_up(self, main: "asyncio.Task[Any]") -> None:
        """The function has ended. The run has when its handlers' calls have, and then what else it left behind."""
        if not self._closed:
            self._closed = True
            self._receiver.close()
            self._loop.run_dry()
        if not self._receiver.calls and not self._leftover_cancelled:
            self._leftover_cancelled = True
            for task in list(self._loop.tasks):
                task.cancel()
            self._loop.run_dry()
        if self._leftover_cancelled and not self._loop.tasks:
            self.ended = True
            self._conclude(main)

    def _conclude(self, main: "asyncio.Task[Any]") -> None:
        if main.cancelled():
            self.outcome = Outcome(cancelled=Outcome.Cancelled())
            return
        error = main.exception()
        if error is None:
            try:
                self.outcome = Outcome(result=self.task.result_codec.encode(main.result()))
            except Exception as problem:
                self.outcome = Outcome(failure=failure_of(problem))
        elif self._restart_requested is not None and _is_restart(error):
            self.restart = self._restart_requested
        else:
            if (unreadable := _unreadable(error)) is not None:
                raise RecordUnreadable(unreadable) from error
            self.outcome = Outcome(failure=failure_of(error))


def _check_language(runtime: str) -> None:
    """Of the worker that began the generation. Raises OtherRuntime."""
    if runtime and not runtime.startswith(LANGUAGE):
        raise OtherRuntime(runtime)


def _unreadable(error: BaseException) -> RecordInvalid | None:
    """The record that ended the function, where that alone did."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, RecordInvalid) else None


def _is_restart(error: BaseException) -> bool:
    """A TaskGroup that the function was in wraps what left it."""
    return isinstance(error, Restart) or (isinstance(error, BaseExceptionGroup) and error.subgroup(Restart) is not None)
