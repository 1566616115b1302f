"""A run's history as JSON: the stable shapes that `runs show --json` adds. The rules are those of `shapes`."""

from dataclasses import asdict
from typing import assert_never

from midstream import Assignment, Entry, Record
from midstream.cli import shapes
from midstream.cli.history import History
from midstream.cli.shapes import Json
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


def history(history: History) -> Json:
    """The log and the assignments."""
    return {
        "log": [entry(each) for each in history.entries],
        "assignments": [assignment(each) for each in history.assignments],
    }


def assignment(assignment: Assignment) -> Json:
    """The time in which one worker had the run."""
    return {
        "epoch": assignment.epoch,
        "worker_id": assignment.worker_id,
        "code_version": assignment.code_version,
        "assign_time": shapes.time(assignment.assign_time),
        "end_time": shapes.time(assignment.end_time),
        "end": None if assignment.end is None else str(assignment.end),
    }


def entry(entry: Entry) -> Json:
    """An entry, with what happened under the name of its kind, such as `step_ended`."""
    return {
        "offset": entry.offset,
        "append_time": shapes.time(entry.append_time),
        "applied_offset": entry.applied_offset,
        **_fact(entry),
    }


def _fact(entry: Entry) -> Json:
    fact = entry.fact
    match fact:
        case Created():
            payload = None if fact.payload is None else shapes.value(fact.payload)
            return {"created": {"payload": payload, "metadata": dict(fact.metadata)}}
        case Started():
            return {"started": {}}
        case Record():
            return {"record": shapes.record(fact)}
        case StepBegan():
            return {"step_began": asdict(fact)}
        case StepEnded():
            return {
                "step_ended": {
                    "operation": fact.operation,
                    "name": fact.name,
                    "attempt": fact.attempt,
                    "duration_seconds": None if fact.duration is None else fact.duration.total_seconds(),
                    "value": None if fact.failure is not None else shapes.value(fact.value),
                    "failure": None if fact.failure is None else asdict(fact.failure),
                }
            }
        case TimerFired():
            return {"timer_fired": {"operation": fact.operation, "due_time": shapes.time(fact.due_time)}}
        case CancelRequested():
            return {"cancel_requested": asdict(fact)}
        case Restarted():
            return {"restarted": {"generation": fact.generation, "payload": shapes.value(fact.payload)}}
        case RecordsDropped():
            return {"records_dropped": asdict(fact)}
        case Ended():
            return {"ended": {"state": str(fact.state)}}
        case None:
            return {}
        case _:
            assert_never(fact)
