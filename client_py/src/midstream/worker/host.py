"""Executes one assignment of a run: turn by turn what the server sends, and the steps and timers in between."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import Any, Final

from midstream.clock import Clock
from midstream.runtime import entries
from midstream.runtime.errors import CannotGoOn
from midstream.runtime.execution import Execution
from midstream.runtime.failures import failure_of
from midstream.runtime.pending_step import PendingStep
from midstream.runtime.times import to_us
from midstream.task import Task
from midstream.v1.entry_pb2 import Entry
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker import run_log
from midstream.worker.alarm import Alarm
from midstream.worker.calls import Caller
from midstream.worker.outbound import Outbound
from midstream.worker.outputs import RunOutputs
from midstream.worker.server_time import ServerTime
from midstream.worker.step_runner import StepRunner

_PROGRESS_RECORDS: Final = 500
_PROGRESS_US: Final = 1_000_000


class RunHost:
    """Give it every frame of its run with `receive`, `assigned` first, until its process is killed, or until `close`.

    It executes one generation: a restarted run is assigned anew.
    """

    def __init__(
        self,
        assigned: WorkResponse.Assigned,
        task: Task[Any, Any],
        *,
        send: Callable[[WorkRequest], None],
        caller: Caller,
        clock: Clock,
        idle_timeout_us: int,
    ) -> None:
        self._assigned = assigned
        self._task = task
        self._clock = clock
        self._idle_timeout_us = idle_timeout_us
        self._context: Context = copy_context()
        self._context.run(run_log.current.set, run_log.RunInLog(assigned.run_id, task.name, self._is_replaying))
        self._out = Outbound(assigned.run_id, assigned.epoch, send)
        self._server_time = ServerTime(clock)
        self._outputs = RunOutputs(assigned.run_id, assigned.epoch, send=send, on_all_stored=self._settle)
        self._steps = StepRunner(
            epoch=assigned.epoch,
            append=self._append,
            caller=caller,
            clock=clock,
            server_time=self._server_time,
            context=self._context,
            outputs=self._outputs,
        )
        self._timer_alarm = Alarm(clock, self._ask_for_timers)
        self._idle_alarm = Alarm(clock, self._idle)
        self._progress_alarm = Alarm(clock, self._report_progress)
        self._idle_since_us = 0
        self._received_offset = 0
        self._known_through = assigned.suspended.applied_offset
        self._over = False
        self._execution = self._context.run(Execution, task, run_id=assigned.run_id, generation=assigned.generation)

    @property
    def pending_steps(self) -> Mapping[int, PendingStep]:
        """What the task waits for, by operation."""
        return self._execution.steps

    def receive(self, frame: WorkResponse) -> None:
        """Takes a frame about this run, or `opened` after a new call has begun, or `drain`."""
        if self._over:
            return
        kind = frame.WhichOneof("frame")
        try:
            if kind == "entries":
                self._receive_entries(frame.entries.entries)
            elif kind == "assigned":
                self._receive_entries(frame.assigned.entries)
            elif kind == "suspend_refused":
                self._server_time.exactly(to_us(frame.suspend_refused.server_time))
                self._out.answered("suspend")
                self._settle()
            elif kind == "early":
                self._server_time.exactly(to_us(frame.early.server_time))
                self._out.answered("timer_fired", frame.early.operation)
                self._settle()
            elif kind == "output_stored":
                self._outputs.stored(frame.output_stored)
            elif kind == "opened":
                self._speak_again()
            elif kind == "drain":
                self._idle_timeout_us = 0
                self._settle()
        except CannotGoOn as error:
            self._end()
            self._out.block(failure_of(error))
        except Exception:
            self._end()
            self._out.release(f"the runtime failed:\n{traceback.format_exc()}", died=True)

    def close(self) -> None:
        """Stops, for a host that shares its process with others; says nothing to the server."""
        if not self._over:
            self._end()
            self._execution.abandon()

    def _receive_entries(self, received: Iterable[Entry]) -> None:
        for entry in received:
            if entry.HasField("checkpoint"):
                self._known_through = max(self._known_through, entry.checkpoint.applied_offset)
        # What is not new is known from an earlier call.
        known, last_offset = self._received_offset, self._assigned.last_offset
        if known < last_offset:
            self._execution.replay_through = self._known_through
            self._context.run(self._execution.apply_all, self._replayed(received))
            if known < self._received_offset == last_offset:
                self._live()
        for entry in received:
            if entry.offset <= self._received_offset:
                continue
            self._received_offset = entry.offset
            self._server_time.at_least(to_us(entry.append_time))
            self._out.came_back(entry)
            if entry.HasField("restarted"):
                # The server began the new generation, and the call broke before it assigned it.
                self._give_back("the call broke while the run was restarted")
                return
            self._context.run(self._execution.apply, entry)
            self._live()

    def _replayed(self, received: Iterable[Entry]) -> Iterator[Entry]:
        """Holds one at a time: of a thousand together, the processor's caches cannot."""
        last_offset = self._assigned.last_offset
        for entry in received:
            offset = entry.offset
            if self._received_offset < offset <= last_offset:
                self._received_offset = offset
                yield entry

    def _live(self) -> None:
        """After each turn that was not taken before."""
        self._idle_since_us = self._clock.now_us()
        if self._received_offset > self._assigned.last_offset:
            self._out.unreported_records += 1
        self._settle()

    def _settle(self) -> None:
        """Sees to it that what the task now waits for is under way."""
        execution = self._execution
        if self._received_offset < self._assigned.last_offset:
            return
        self._append_outputs()
        self._steps.follow(execution)
        if execution.ended:
            self._conclude()
            return
        self._set_timer_alarm()
        self._set_idle_alarm()
        if self._out.unreported_records >= _PROGRESS_RECORDS:
            self._report_progress()
        elif self._out.unreported_records and not self._progress_alarm.is_set:
            self._progress_alarm.set(self._clock.now_us() + _PROGRESS_US)

    def _conclude(self) -> None:
        if self._out.is_ending:
            return
        self._timer_alarm.set(None)
        self._idle_alarm.set(None)
        if not self._outputs.all_stored:
            return  # what was appended outlives the process that is to be killed
        execution = self._execution
        if execution.restart is not None:
            self._out.restart(execution, execution.restart)
        elif execution.outcome is not None:
            self._out.finish(execution, execution.outcome)

    def _speak_again(self) -> None:
        """A new call has begun."""
        if self._out.asked("restart", 0):
            # Said twice it would restart the run twice. Whether it was heard, the log knows.
            self._give_back("the call broke while the run was restarted")
        else:
            self._outputs.again()
            self._out.again(self._execution)

    def _give_back(self, reason: str) -> None:
        self._end()
        self._out.release(reason, died=False)

    # Steps and timers.

    def _append(self, entry: Entry) -> None:
        self._outputs.send_all()
        self._out.append(self._execution, entry)

    def _set_timer_alarm(self) -> None:
        timers = self._execution.timers.items()
        waiting = [due_us for operation, due_us in timers if not self._out.asked("timer_fired", operation)]
        self._timer_alarm.set(self._server_time.by_own_clock(min(waiting)) if waiting else None)

    def _ask_for_timers(self) -> None:
        now_us = self._server_time.now_us()
        for operation, due_us in sorted(self._execution.timers.items(), key=lambda timer: (timer[1], timer[0])):
            if due_us <= now_us and not self._out.asked("timer_fired", operation):
                self._append(entries.timer_fired(operation, due_us))
        self._set_timer_alarm()

    # Output streams.

    def _append_outputs(self) -> None:
        """Sends what the task has appended outside of steps; known from before is what preceded a suspension."""
        new = self._execution.outputs.new
        if new:
            known = self._assigned.suspended.operations
            self._outputs.put_all(record for record in new if record.operation >= known)
            new.clear()

    # Suspending.

    def _may_suspend(self) -> bool:
        return self._execution.suspendable and self._outputs.all_stored and not self._out.is_ending

    def _set_idle_alarm(self) -> None:
        if not self._may_suspend():
            self._idle_alarm.set(None)
        elif self._idle_timeout_us == 0:
            self._idle()
        elif not self._idle_alarm.is_set:
            self._idle_alarm.set(self._idle_since_us + self._idle_timeout_us)

    def _idle(self) -> None:
        if not self._may_suspend():
            return
        idle_until_us = self._idle_since_us + self._idle_timeout_us
        if self._clock.now_us() < idle_until_us:
            self._idle_alarm.set(idle_until_us)
        else:
            self._out.suspend(self._execution)

    def _report_progress(self) -> None:
        self._progress_alarm.set(None)
        if not self._over and not self._execution.ended and self._out.unreported_records:
            self._out.progress(self._execution)

    def _is_replaying(self) -> bool:
        return self._execution.replaying

    def _end(self) -> None:
        self._over = True
        for alarm in (self._timer_alarm, self._idle_alarm, self._progress_alarm):
            alarm.set(None)
        self._steps.abort_all()
        self._outputs.close()
