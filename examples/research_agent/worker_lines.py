"""What a worker prints, one JSON object a line, in the demo's words."""

import json
from typing import Any, NamedTuple


class Line(NamedTuple):
    """`by_agent`: the task's own code said it, not the worker."""

    text: str
    by_agent: bool = False


def told(raw: str) -> Line | None:
    """None for what the story can do without."""
    try:
        event: dict[str, Any] = json.loads(raw)
    except ValueError:
        return Line(raw)  # such as a traceback
    if event.get("logger", "").startswith("midstream.task."):
        return Line(event["event"], by_agent=True)
    match event["event"]:
        case "worker_started":
            return Line(f"executes {', '.join(event['tasks'])}")
        case "connected":
            held = " again; the run went on meanwhile" if event["held"] else ""
            return Line(f"connected{held}")
        case "disconnected":
            return Line("has lost the server; its run goes on")
        case "run_assigned":
            return Line("got the run")
        case "run_resumed":
            return Line(f"got the run, suspended until now, with a log of {event['last_offset']} entries")
        case "run_suspended":
            return Line("suspended the run")
        case "run_finished":
            return Line(f"the run is {event['outcome']}")
        case "worker_draining" | "worker_stopped":
            return None
        case _:
            return Line(raw)
