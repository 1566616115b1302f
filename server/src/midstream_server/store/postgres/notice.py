"""How a commit tells the other replicas of itself: as few payloads of NOTIFY as it fits into."""

from collections.abc import Iterator

from midstream_server.domain.record import Direction
from midstream_server.store.interface import Change
from midstream_server.store.notice import Notice, Queued

CHANNEL = "midstream"
_MAX_BYTES = 7_900
"""PostgreSQL takes payloads of less than 8,000."""


def encode(notice: Notice) -> list[str]:
    payloads: list[str] = []
    lines: list[str] = []
    size = 0
    for line in _lines(notice):
        # Names are ASCII, and the longest line has some 300 bytes.
        if size + len(line) + 1 > _MAX_BYTES:
            payloads.append("\n".join(lines))
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
    if lines:
        payloads.append("\n".join(lines))
    return payloads


def decode(payload: str) -> Notice:
    """Lines of a kind that is not known here are passed over: a newer replica may send them."""
    changes: list[Change] = []
    queued: list[Queued] = []
    vacated: list[int] = []
    schemas: list[str] = []
    for line in payload.splitlines():
        match line.split(" "):
            case ["r", run_no]:
                changes.append(Change(int(run_no), None))
            case ["s", run_no, stream_id]:
                changes.append(Change(int(run_no), stream_id))
            case ["o", run_no, stream_id]:
                changes.append(Change(int(run_no), stream_id, Direction.OUTPUT))
            case ["q", namespace, task]:
                queued.append(Queued(namespace, task))
            case ["w", worker_no]:
                vacated.append(int(worker_no))
            case ["n", namespace]:
                schemas.append(namespace)
    return Notice(changes, queued, vacated, schemas)


def _lines(notice: Notice) -> Iterator[str]:
    for run_no, stream_id, direction in notice.changes:
        letter = "s" if direction is Direction.INPUT else "o"
        yield f"r {run_no}" if stream_id is None else f"{letter} {run_no} {stream_id}"
    yield from (f"q {namespace} {task}" for namespace, task in notice.queued)
    yield from (f"w {worker_no}" for worker_no in notice.vacated)
    yield from (f"n {namespace}" for namespace in notice.schemas)
