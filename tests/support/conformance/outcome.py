"""What operations and runs came to, beside what was expected."""

from typing import Any

from midstream import Run
from support.conformance.match import differences

Json = dict[str, Any]


def outcome_differences(operation: Json, outcome: Json, path: str) -> list[str]:
    """Between what an operation was to come to and what it came to."""
    for kind in ("sequence", "together"):
        if kind in operation:
            inner = zip(operation[kind], outcome.get("gives", []), strict=True)
            return [
                line
                for index, (each, its) in enumerate(inner)
                for line in outcome_differences(each, its, f"{path}.{kind}[{index}]")
            ]
    if "fails" in operation:
        return differences({"fails": operation["fails"]}, outcome, path)
    if "fails" in outcome:
        return [f"{path}: {operation} failed: {outcome['fails']}"]
    return differences(operation["gives"], outcome["gives"], path) if "gives" in operation else []


def seen_of(run: Run) -> Json:
    """A run as `ends` and `until` write it."""
    return {
        "state": str(run.state),
        "unread": {each.stream_id: each.unread_count for each in run.streams},
        "failures": [
            {"seq": each.seq, "type": each.error_type, "message": each.message} for each in run.handler_failures
        ],
        "failure": run.failure and run.failure.message,
    }
