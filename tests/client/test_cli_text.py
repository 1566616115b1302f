"""Values, times and counts as a person reads them, and as --json prints them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from midstream.cli import shapes, text
from midstream.v1.record_pb2 import TypedMessage

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(0), "0 s ago"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(seconds=119), "2 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=7), "7 d ago"),
        (-timedelta(days=7), "in 7 d"),
    ],
)
def test_distance(before: timedelta, words: str) -> None:
    assert text.distance(NOON - before, NOON) == words


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        ("", '""'),
        ({"a": "🌊"}, '{"a": "🌊"}'),
        (b"", "<0 bytes>"),
        (b"\x00\xff", "<2 bytes: 00 ff>"),
        (TypedMessage(type_name="acme.v1.Order", value=b"\x08\x01"), "<acme.v1.Order, 2 bytes>"),
    ],
)
def test_a_value_on_one_line(value: object, shown: str) -> None:
    assert text.one_line(value) == shown


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b2J", "\u202e", "\x07"])
def test_a_record_cannot_steer_the_terminal(evil: str) -> None:
    for shown in (text.one_line(evil), text.block(evil), text.printable(evil)):
        assert evil not in shown
        assert shown.isprintable()


def test_a_text_keeps_its_lines_where_there_is_room() -> None:
    assert text.block("a\n\tb") == "a\n\tb"
    assert text.printable("a\n\tb") == r"a\n\tb"


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, {"encoding": "json", "value": None}),
        ("123", {"encoding": "json", "value": "123"}),
        (b"\x00\xff", {"encoding": "raw", "value": "AP8="}),
        (
            TypedMessage(type_name="acme.v1.Order", value=b"\x08\x01"),
            {"encoding": "proto", "type_name": "acme.v1.Order", "value": "CAE="},
        ),
    ],
)
def test_a_value_as_json_says_its_encoding(value: object, shape: object) -> None:
    assert shapes.value(value) == shape


@pytest.mark.parametrize("value", ["🌊\n", "\ud800", "\u2028"])
def test_json_is_one_line_of_utf8(value: str) -> None:
    line = shapes.dumps({"value": value})
    assert "\n" not in line
    assert json.loads(line.encode().decode()) == {"value": value}


def test_times_are_utc_with_microseconds() -> None:
    assert shapes.time(NOON) == "2026-11-22T12:00:00.000000Z"
    assert shapes.time(None) is None
