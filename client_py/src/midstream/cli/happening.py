"""What happened to a run, one line each: the words for the entries of its log and for its assignments."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from midstream import Assignment, AssignmentEnd, Entry, Record
from midstream.cli import text
from midstream.cli.output import STATE_STYLES
from midstream.entry import (
    CancelRequested,
    Created,
    Ended,
    RecordsDropped,
    Restarted,
    Started,
    StepBegan,
    StepEnded,
    TimerFired,
)

_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a timeline. `offset` is None for what is no entry; `remark` matters less than `what`."""

    time: datetime
    offset: int | None
    word: str
    what: str = ""
    remark: str = ""
    style: str = ""


def of_entry(entry: Entry, *, retried: bool = False) -> Happening:
    """`retried`: it is an attempt of a step that another one followed."""
    fact = entry.fact
    match fact:
        case Created():
            return _line(entry, "created", "" if fact.payload is None else text.shortened(fact.payload, _SHOWN))
        case Started():
            return _line(entry, "started", style="green")
        case Record():
            return _line(entry, "record", _heading(fact), _origin(fact), style="cyan")
        case StepBegan():
            return _line(entry, "step", _step(fact), "begins, at most once", style="green")
        case StepEnded(failure=None):
            what = f"{_step(fact)} → {text.shortened(fact.value, _SHOWN)}"
            return _line(entry, "step", what, _effort(fact), style="green")
        case StepEnded():
            assert fact.failure is not None
            what = f"{_step(fact)} raised {text.cut(text.error(fact.failure), _SHOWN)}"
            return _line(entry, "step", what, _joined(_effort(fact), "tried again" if retried else ""), style="red")
        case TimerFired():
            late = entry.append_time - fact.due_time
            remark = f"{text.span(late)} late" if late >= timedelta(seconds=1) else ""
            return _line(entry, "timer", f"came due (operation {fact.operation})", remark, style="yellow")
        case CancelRequested():
            what = "its deadline has passed" if fact.deadline_passed else "somebody asked it to stop"
            return _line(entry, "cancel", what, style="magenta")
        case Restarted():
            what = f"generation {fact.generation} begins"
            return _line(entry, "restart", what, text.shortened(fact.payload, _SHOWN), style="green")
        case RecordsDropped():
            what = f"{text.printable(fact.stream_id)} {_seqs(fact)}"
            remark = f"{text.count(fact.last_seq - fact.first_seq + 1, 'unread record')} made room for the next one"
            return _line(entry, "dropped", what, remark, style="yellow")
        case Ended():
            return _line(entry, fact.state.lower(), style=STATE_STYLES.get(fact.state, ""))
        case None:
            return _line(entry, "unknown", "this version of the command line does not know such an entry", style="dim")
        case _:
            assert_never(fact)


def of_start(assignment: Assignment, before: Assignment | None, offset: int | None = None) -> Happening:
    """A worker got the run; `before` is the assignment in front of it."""
    new_code = before is None or before.code_version != assignment.code_version
    code = f"code {text.printable(assignment.code_version)}" if new_code and assignment.code_version else ""
    return Happening(
        assignment.assign_time,
        offset,
        "resumed" if assignment.epoch > 1 else "started",
        f"by worker {text.printable(assignment.worker_id)}",
        _joined(f"epoch {assignment.epoch}", code),
        "green",
    )


def of_end(assignment: Assignment, *, until: datetime, goes_on: bool) -> Happening | None:
    """A worker no longer had the run; None where the log says it already.

    `until`: when the next worker got it, or when it ended. `goes_on`: neither has happened by then.
    """
    if assignment.end is None or assignment.end_time is None or assignment.end is AssignmentEnd.FINISHED:
        return None
    worker = text.printable(assignment.worker_id)
    word, what, style = {
        AssignmentEnd.SUSPENDED: ("suspended", "its process is gone", "yellow"),
        AssignmentEnd.RELEASED: ("released", f"worker {worker} gave it back", "yellow"),
        AssignmentEnd.DIED: ("died", f"its process on worker {worker} died", "red"),
        AssignmentEnd.LEASE_LOST: ("lease lost", f"worker {worker} was not heard of any more", "red"),
        AssignmentEnd.BLOCKED: ("blocked", f"the code of worker {worker} does not fit the log", "red"),
    }[assignment.end]
    gap = text.span(until - assignment.end_time)
    remark = f"no process since then: {gap}" if goes_on else f"no process for {gap}"
    return Happening(assignment.end_time, None, word, what, remark, style)


def _line(entry: Entry, word: str, what: str = "", remark: str = "", style: str = "") -> Happening:
    return Happening(entry.append_time, entry.offset, word, what, remark, style)


def _heading(record: Record) -> str:
    return f"{text.printable(record.stream_id)} #{record.seq}  {text.shortened(record.value, _SHOWN)}"


def _seqs(dropped: RecordsDropped) -> str:
    first, last = dropped.first_seq, dropped.last_seq
    return f"#{last}" if first == last else f"#{first} to #{last}"


def _origin(record: Record) -> str:
    return "" if record.sender.kind == "ANONYMOUS" else f"from {text.sender(record.sender)}"


def _step(fact: StepBegan | StepEnded) -> str:
    return text.printable(fact.name) if fact.name else f"operation {fact.operation}"


def _effort(fact: StepEnded) -> str:
    attempt = f"attempt {fact.attempt}" if fact.attempt > 1 else ""
    return _joined(attempt, "" if fact.duration is None else text.span(fact.duration))


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
