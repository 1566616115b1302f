"""A run's log and its assignments as one timeline."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import zip_longest

from midstream import Assignment, AssignmentEnd, Entry, Record, Run, RunState
from midstream.cli import happening
from midstream.cli.happening import Happening
from midstream.cli.history import History
from midstream.entry import CancelRequested, Created, Ended, RecordsDropped, Restarted, Started, StepEnded, TimerFired


def timeline(run: Run, history: History, now: datetime | None = None) -> list[Happening]:
    """Everything that happened, in order. `now` bounds what has not ended yet."""
    now = datetime.now(UTC) if now is None else now
    entries, assignments = history.entries, history.assignments
    marks = list(_marks(run, assignments, now))
    retried = _retried(entries)
    first_claim = assignments[0].epoch == 1 if assignments else False
    happenings: list[Happening] = []
    position = 0
    for entry in entries:
        while position < len(marks) and _comes_first(marks[position], entry):
            happenings.append(marks[position])
            position += 1
        if isinstance(entry.fact, Started) and first_claim:
            # The first claim appended it: one line for both.
            happenings.append(happening.of_start(assignments[0], None, entry.offset))
        else:
            happenings.append(happening.of_entry(entry, retried=entry.offset in retried))
    return happenings + marks[position:]


def _marks(run: Run, assignments: Sequence[Assignment], now: datetime) -> Iterator[Happening]:
    """Where workers got the run and lost it, but for the first start, which the log has."""
    before: Assignment | None = None
    for assignment, after in zip_longest(assignments, assignments[1:]):
        if assignment.epoch > 1:
            yield happening.of_start(assignment, before)
        until = after.assign_time if after is not None else run.finish_time or now
        end = happening.of_end(assignment, until=until, goes_on=after is None and run.finish_time is None)
        if end is not None:
            yield end
        before = assignment
    if run.state is RunState.BLOCKED and before is not None and before.end is AssignmentEnd.DIED:
        assert before.end_time is not None
        what = "one process after the other died at the same place"
        yield Happening(before.end_time, None, "blocked", what, style="red")


def _comes_first(mark: Happening, entry: Entry) -> bool:
    """Of one moment: what woke the run comes before its worker, and what its worker did comes before its end."""
    if mark.time != entry.append_time:
        return mark.time < entry.append_time
    if mark.word == "resumed":
        return not isinstance(entry.fact, Created | RecordsDropped | Record | TimerFired | CancelRequested)
    return isinstance(entry.fact, RecordsDropped | Record | TimerFired | CancelRequested | Ended)


def _retried(entries: Sequence[Entry]) -> set[int]:
    """The offsets of attempts that another one followed. Each generation numbers its operations anew."""
    last: dict[int, int] = {}
    retried: set[int] = set()
    for entry in entries:
        if isinstance(entry.fact, Restarted):
            last.clear()
        elif isinstance(entry.fact, StepEnded):
            if entry.fact.operation in last:
                retried.add(last[entry.fact.operation])
            last[entry.fact.operation] = entry.offset
    return retried
