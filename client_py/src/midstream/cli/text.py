"""Values, times and counts as words for a person."""

import json
from datetime import UTC, datetime, timedelta

from midstream import Failure, Sender
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


def span(length: timedelta) -> str:
    """How long, in one unit or two: `350 ms`, `1.2 s`, `4 min 3 s`, `3 d 4 h`."""
    milliseconds = round(length.total_seconds() * 1_000)
    if milliseconds < 1_000:
        return f"{max(milliseconds, 0)} ms"
    if milliseconds < 10_000:
        return f"{milliseconds / 1_000:.1f} s"
    seconds = round(milliseconds / 1_000)
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size:,} {unit} {rest} {smaller}" if rest else f"{seconds // size:,} {unit}"
    return f"{seconds} s"


def cut(text: str, width: int) -> str:
    """At most `width` characters; an ellipsis stands for the rest."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def shortened(value: object, width: int) -> str:
    """A decoded payload on one line, cut."""
    return cut(one_line(value), width)


def error(failure: Failure) -> str:
    """`ValueError: no such topic`, on one line."""
    return printable(f"{failure.error_type}: {failure.message}" if failure.message else failure.error_type)


def sender(sender: Sender) -> str:
    """`anonymous`, `api key reporter`."""
    kind = sender.kind.lower().replace("_", " ")
    return f"{kind} {printable(sender.subject)}" if sender.subject else kind


def count(number: int, noun: str) -> str:
    """`1 record`, `2,000 records`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
