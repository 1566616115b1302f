"""Values, times and counts as words for a person."""

import json
from datetime import UTC, datetime

from midstream.cli.shapes import dumps
from midstream.v1.record_pb2 import TypedMessage


def printable(text: str, *, keep_lines: bool = False) -> str:
    """`text` with control characters shown as escapes, so that no record can steer the terminal that shows it."""
    kept = "\n\t" if keep_lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode("ascii") for c in text)


def one_line(value: object) -> str:
    """A decoded payload on one line: JSON, or what stands for it."""
    if isinstance(value, bytes):
        shown = value[:24].hex(" ")
        return f"<{count(len(value), 'byte')}: {shown}{' …' if len(value) > 24 else ''}>" if value else "<0 bytes>"
    if isinstance(value, TypedMessage):
        return f"<{printable(value.type_name)}, {count(len(value.value), 'byte')}>"
    return printable(dumps(value))


def block(value: object) -> str:
    """A decoded payload in full: a text as its lines, other JSON indented."""
    if isinstance(value, str):
        return printable(value, keep_lines=True)
    if isinstance(value, (bytes, TypedMessage)):
        return one_line(value)
    return printable(json.dumps(value, ensure_ascii=False, indent=2), keep_lines=True)


def time(moment: datetime | None) -> str:
    """Local time to the second, such as `2026-11-22 19:02:11`; `-` where there is none."""
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def distance(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, or in how long, in one unit: `12 s ago`, `in 3 h`."""
    seconds = ((datetime.now(UTC) if now is None else now) - moment).total_seconds()
    amount = abs(seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if amount >= size:
            text = f"{amount / size:.0f} {unit}"
            break
    else:
        text = f"{amount:.0f} s"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def count(number: int, noun: str) -> str:
    """`1 record`, `2,000 records`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
