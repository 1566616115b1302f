"""Bugs that the fuzz must find, one at a time. Each leaves out one rule of DESIGN."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from midstream.runtime.execution import Execution
from midstream.runtime.times import to_timestamp
from midstream.task import Task
from midstream.v1.entry_pb2 import Checkpoint, Entry
from support.replay.model import Omissions


class TwoInOneDrain(Execution):
    """Of two entries that are there already, the second is applied before the first one's turn is dry."""

    def __init__(self, task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> None:
        super().__init__(task, run_id=run_id, generation=generation)
        self._host = host

    def _take_turn(self, entry: Entry, fact: str | None, offset: int) -> None:
        if (
            self._host.more_entries
            and self._host.caught_up
            and fact == "record"
            and self._main is not None
            and not self._main.done()
        ):
            self._apply_fact(entry)
            self._operations.turn_ended(offset)
            return
        super()._take_turn(entry, fact, offset)


class LocalClock(Execution):
    """Live code sees the worker's own time, not the entry's."""

    def __init__(self, task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> None:
        super().__init__(task, run_id=run_id, generation=generation)
        self._host = host

    def apply(self, entry: Entry) -> None:
        live = Entry()
        live.CopyFrom(entry)
        if entry.offset > self._host.last_offset:
            live.append_time.CopyFrom(to_timestamp(self._host.now_us + 7))
        super().apply(live)


class ConsumesAtPush(Execution):
    """A record counts as consumed as soon as it has arrived."""

    def __init__(self, task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> None:
        super().__init__(task, run_id=run_id, generation=generation)

    def checkpoint(self) -> Checkpoint:
        checkpoint = super().checkpoint()
        del checkpoint.consumed[:]
        for inbox in self._receiver.inboxes:
            checkpoint.consumed.add(stream_id=inbox.stream_id, cursor=inbox.buffer.received_seq)
        return checkpoint


class DropsNothing(Execution):
    """A record that was dropped stays where it is."""

    def __init__(self, task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> None:
        super().__init__(task, run_id=run_id, generation=generation)

    def _apply_fact(self, entry: Entry) -> None:
        if not entry.HasField("records_dropped"):
            super()._apply_fact(entry)


class BusyHandlersKeepDropped(Execution):
    """What waits for a busy handler is not dropped."""

    def __init__(self, task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> None:
        super().__init__(task, run_id=run_id, generation=generation)

    def _apply_fact(self, entry: Entry) -> None:
        if entry.HasField("records_dropped"):
            buffer = self._receiver.inbox(entry.records_dropped.stream_id).buffer
            handlers, buffer._handlers = buffer._handlers, {}
            super()._apply_fact(entry)
            buffer._handlers = handlers
        else:
            super()._apply_fact(entry)


class ForgetsBeyond(Execution):
    """A restart tells each stream's cursor, and not what was consumed beyond it."""

    def __init__(self, task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> None:
        super().__init__(task, run_id=run_id, generation=generation)

    def checkpoint_for_restart(self) -> Checkpoint:
        checkpoint = super().checkpoint_for_restart()
        for consumed in checkpoint.consumed:
            del consumed.beyond[:]
        return checkpoint


class RawValues(Execution):
    """Live code gets what the step returned, not what is left of it after its serial form."""

    def __init__(self, task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> None:
        super().__init__(task, run_id=run_id, generation=generation)
        self._host = host

    def apply(self, entry: Entry) -> None:
        step = self.steps.get(entry.step_ended.operation) if entry.HasField("step_ended") else None
        raw = self._host._world.raw
        if step is not None and step.key in raw and entry.offset > self._host.last_offset:
            step.codec = _Raw(raw[step.key])
        super().apply(entry)


class _Raw:
    def __init__(self, value: Any) -> None:
        self._value = value

    def encode(self, value: Any) -> Any:
        raise NotImplementedError

    def decode(self, payload: Any) -> Any:
        return self._value


def plain_execution(task: Task[Any, Any], *, run_id: str, generation: int, host: Any) -> Execution:
    return Execution(task, run_id=run_id, generation=generation)


@dataclass(frozen=True)
class Bug:
    """What is wrong: with the engine, or with the server."""

    make_execution: Callable[..., Execution] = plain_execution
    omissions: Omissions = field(default_factory=Omissions)


NO_BUG = Bug()
PLANTED = {
    "two entries in one drain": Bug(make_execution=TwoInOneDrain),
    "a local clock": Bug(make_execution=LocalClock),
    "consumption at push": Bug(make_execution=ConsumesAtPush),
    "raw values": Bug(make_execution=RawValues),
    "no epoch check": Bug(omissions=Omissions(epoch_check=True)),
    "no suspend check": Bug(omissions=Omissions(suspend_check=True)),
    "no rewind": Bug(omissions=Omissions(rewind=True)),
    "outputs stored again": Bug(omissions=Omissions(output_once=True)),
    "a drop ignored": Bug(make_execution=DropsNothing),
    "a drop that busy handlers ignore": Bug(make_execution=BusyHandlersKeepDropped),
    "a drop applied to what was taken": Bug(omissions=Omissions(replay_before_drop=True)),
    "nothing known beyond the cursor": Bug(make_execution=ForgetsBeyond),
    "due timers not first": Bug(omissions=Omissions(due_timers_first=True)),
}

PLANTED_IN_TYPESCRIPT = (
    *("two entries in one drain", "a local clock", "consumption at push", "raw values"),
    *("a drop ignored", "a drop that busy handlers ignore", "nothing known beyond the cursor"),
)
"""The engine's, by their names in client_ts/tests/replay/bugs.ts. The server's are the same for all languages."""
