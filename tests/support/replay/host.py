"""A host as small as can be: lives through one assignment of the run, one random move at a time."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from midstream.ambient import outputs_in_block
from midstream.codec import codec_for
from midstream.runtime import entries
from midstream.runtime.execution import Execution
from midstream.runtime.pending_step import FunctionCall, PendingStep
from midstream.runtime.step_function import step_key_in_step
from midstream.runtime.times import to_timestamp, to_us
from midstream.task import Task
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.run_pb2 import Run as RunMessage
from midstream.v1.run_service_pb2 import StartRunRequest
from midstream.v1.stream_service_pb2 import Accepted
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from support.replay.outputs import StepSays
from support.replay.typescript import NodeExecution, NodeStep
from support.replay.world import World

MakeExecution = Callable[..., Execution | NodeExecution]


class Host:
    """Executes the run under one epoch. Frames to be sent wait in `outbox`; `over` when the assignment has ended."""

    def __init__(
        self,
        task: Task[Any, Any],
        world: World,
        rng: Random,
        assigned: WorkResponse.Assigned,
        clock: Callable[[], int],
        make_execution: MakeExecution,
    ) -> None:
        self.outbox: deque[bytes] = deque()
        self.over = False
        self.more_entries = False
        self.epoch = assigned.epoch
        self._world = world
        self._rng = rng
        self._clock = clock
        self._skew_us = 0
        self._run_id = assigned.run_id
        self._task = task
        self._make_execution = make_execution
        self._asked: dict[tuple[str, int], bytes] = {}
        self._running: dict[int, Entry] = {}
        self._executed: set[int] = set()
        self._suspending = False
        self._concluding = False
        self._reported = Checkpoint()
        self._said: list[WorkRequest.OutputRecord] = []
        self._unstored: dict[int, bytes] = {}
        self._outputs_sent = 0
        self._known_operations = 0
        self.begin(assigned)

    def begin(self, assigned: WorkResponse.Assigned) -> None:
        """A generation begins, the first or another."""
        self.life = self._world.new_life(assigned.generation)
        self.last_offset = assigned.last_offset
        self._asked.clear()
        self._running.clear()
        self._executed.clear()
        self._suspending = self._concluding = False
        self._reported.Clear()
        self._said.clear()
        self._unstored.clear()
        self._known_operations = assigned.suspended.operations
        with self._world.living(self.life):
            self.execution = self._make_execution(
                self._task, run_id=self._run_id, generation=assigned.generation, host=self
            )
        self.life.applied_offset = lambda: self.execution.applied_offset
        if assigned.HasField("suspended"):
            self.execution.check(assigned.suspended)

    @property
    def caught_up(self) -> bool:
        return self.execution.ended or self.execution.applied_offset >= self.last_offset

    @property
    def now_us(self) -> int:
        return self._clock() + self._skew_us

    def receive(self, response: WorkResponse) -> None:
        kind = response.WhichOneof("frame")
        if kind in ("assigned", "entries"):
            for entry in getattr(response, kind).entries:
                self._apply(entry)
        elif kind == "early":
            self._asked.pop(("timer_fired", response.early.operation), None)
            self._skew_us = to_us(response.early.server_time) - self._clock()
        elif kind == "suspend_refused":
            self._suspending = False
            self._skew_us = to_us(response.suspend_refused.server_time) - self._clock()
        elif kind == "output_stored":
            self._unstored.pop(response.output_stored.number, None)
        elif kind in ("suspended", "finished", "fenced"):
            self.over = True

    def _apply(self, entry: Entry) -> None:
        execution = self.execution
        if entry.offset <= execution.applied_offset:
            return  # known from an earlier call
        with self._world.living(self.life):
            execution.apply(entry)
        if not execution.ended:
            self._world.entries_applied += 1
        fact = entry.WhichOneof("fact")
        if fact in ("step_began", "step_ended", "timer_fired"):
            self._asked.pop((fact, getattr(entry, fact).operation), None)
        for operation in execution.cancelled_steps:
            if self._running.pop(operation, None) is not None:
                self._world.aborted += 1
        execution.cancelled_steps.clear()

    def move(self) -> None:
        """Does one of the things that are due, if there are any."""
        moves = self._moves() if self.caught_up else []
        if moves:
            self._rng.choice(moves)()
        else:
            self._send(WorkRequest(heartbeat=WorkRequest.Heartbeat()))

    def reconnected(self) -> None:
        """Whatever was on its way is lost: all of it is said again."""
        self.outbox.clear()
        self._suspending = self._concluding = False
        self._world.reconnects += 1
        self.outbox.extend(self._unstored.values())
        for frame in self._asked.values():
            self.outbox.append(frame)
        # What only a lost frame had said about cursors and failures.
        self.execution.report_again(self._reported)
        self._reported.Clear()

    def held(self) -> WorkRequest.Held:
        return WorkRequest.Held(run_id=self._run_id, epoch=self.epoch, received_offset=self.execution.applied_offset)

    def kill(self) -> None:
        with self._world.living(self.life):
            self.life.over = True
            self.execution.abandon()

    def _moves(self) -> list[Callable[[], None]]:
        execution = self.execution
        self._take_outputs()
        moves: list[Callable[[], None]] = [self._tell_some] if self._said else []
        if execution.ended:
            return moves or ([] if self._concluding or self._unstored else [self._conclude])
        told = not self._said and not self._unstored
        for step in execution.steps.values():
            if ("step_ended", step.operation) in self._asked or ("step_began", step.operation) in self._asked:
                continue
            if step.operation in self._running:
                moves.append(lambda step=step: self._end(step))  # type: ignore[misc]
            elif step.not_before_us <= self.now_us:
                moves.append(lambda step=step: self._begin(step))  # type: ignore[misc]
        due = [
            (due_us, operation)
            for operation, due_us in execution.timers.items()
            if due_us <= self.now_us and ("timer_fired", operation) not in self._asked
        ]
        if due:
            moves.append(lambda: self._fire(*min(due)))
        if execution.suspendable and told and not self._suspending and (not moves or self._rng.random() < 0.3):
            moves.append(self._suspend)
        return moves

    def _begin(self, step: PendingStep | NodeStep) -> None:
        if step.at_most_once:
            if step.begun_epoch is None:
                self._append("step_began", step.operation, step.began(self.epoch))
                return
            if step.begun_epoch != self.epoch or step.operation in self._executed:
                self._append("step_ended", step.operation, step.interrupted())
                return
        self._executed.add(step.operation)
        self._running[step.operation] = self._run(step)

    def _run(self, step: PendingStep | NodeStep) -> Entry:
        self._world.began(step.key, at_most_once=step.at_most_once)
        if isinstance(step, NodeStep):
            return step.run(self._world, self._said)
        call = step.call
        if isinstance(call, FunctionCall):
            args, kwargs = call.fresh_arguments()
            token = step_key_in_step.set(step.key)
            says = outputs_in_block.set(StepSays(step, self._said))
            try:
                value = call.function(*args, **kwargs)
            except Exception as error:
                return step.raised(error)
            finally:
                step_key_in_step.reset(token)
                outputs_in_block.reset(says)
            self._world.raw[step.key] = value
            return step.returned(value)
        if isinstance(call, StartRunRequest):
            return step.returned(RunMessage(run_id=call.run_id, task=call.spec.task))
        seq = self._world.deliver(call.records[0].idempotency_key, call.records[0].payload.json)
        accepted = Accepted(seq=seq, offset=seq, accept_time=to_timestamp(0))
        return entries.step_returned(step.operation, step.attempt, codec_for(Accepted).encode(accepted))

    def _end(self, step: PendingStep | NodeStep) -> None:
        self._append("step_ended", step.operation, self._running.pop(step.operation))

    def _fire(self, due_us: int, operation: int) -> None:
        self._append("timer_fired", operation, entries.timer_fired(operation, due_us))

    def _append(self, kind: str, operation: int, entry: Entry) -> None:
        self._take_outputs()
        while self._said:
            self._tell_some()
        append = WorkRequest.Append(run_id=self._run_id, epoch=self.epoch, checkpoint=self._checkpoint(), entry=entry)
        frame = WorkRequest(append=append)
        self._asked[kind, operation] = frame.SerializeToString()
        self._send(frame)

    def _take_outputs(self) -> None:
        """What was said before a suspension is stored."""
        new = self.execution.outputs.new
        self._said.extend(record for record in new if record.operation >= self._known_operations)
        new.clear()

    def _tell_some(self) -> None:
        """Some of what was said, the oldest first."""
        self._tell_outputs(self._rng.randint(1, 4))

    def _tell_outputs(self, count: int) -> None:
        self._outputs_sent += 1
        output = WorkRequest.Output(
            run_id=self._run_id, epoch=self.epoch, records=self._said[:count], number=self._outputs_sent
        )
        del self._said[:count]
        frame = WorkRequest(output=output)
        self._unstored[self._outputs_sent] = frame.SerializeToString()
        self._send(frame)

    def _suspend(self) -> None:
        self._suspending = True
        timers = [
            WorkRequest.Timer(operation=operation, due_time=to_timestamp(due_us))
            for operation, due_us in self.execution.timers.items()
        ]
        suspend = WorkRequest.Suspend(
            run_id=self._run_id,
            epoch=self.epoch,
            checkpoint=self._checkpoint(),
            listening=sorted(self.execution.listening),
            timers=timers,
        )
        self._send(WorkRequest(suspend=suspend))

    def _conclude(self) -> None:
        self._concluding = True
        execution = self.execution
        if execution.restart is not None:
            restart = WorkRequest.Restart(
                run_id=self._run_id,
                epoch=self.epoch,
                checkpoint=self._kept(execution.checkpoint_for_restart()),
                payload=execution.restart,
            )
            self._send(WorkRequest(restart=restart))
        else:
            finish = WorkRequest.Finish(
                run_id=self._run_id, epoch=self.epoch, checkpoint=self._checkpoint(), outcome=execution.outcome
            )
            self._world.finishes.append(execution.outcome)
            self._send(WorkRequest(finish=finish))

    def _checkpoint(self) -> Checkpoint:
        return self._kept(self.execution.checkpoint())

    def _kept(self, checkpoint: Checkpoint) -> Checkpoint:
        """Remembered, in case that its frame gets lost."""
        self._reported.consumed.extend(checkpoint.consumed)
        self._reported.handler_failures.extend(checkpoint.handler_failures)
        return checkpoint

    def _send(self, frame: WorkRequest) -> None:
        self.outbox.append(frame.SerializeToString())
