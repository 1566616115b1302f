"""What a person types as data, and the hints where it is not JSON."""

import pytest

from midstream.cli.data import NotJsonError, hint, parse_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("false", False),
        ("0", 0),
        ('""', ""),
        ('"123"', "123"),
        ("123", 123),
        ('{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        (' "🌊" ', "🌊"),
    ],
)
def test_json_is_taken_as_it_is(text: str, value: object) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "hello --text"),
        ("focus on cost", "'focus on cost' --text"),
        ("{approved: true}", """'{"approved": true}'"""),
        ("{kind: follow-up, text: What now}", """'{"kind": "follow-up", "text": "What now"}'"""),
        ("{'a': None}", """'{"a": null}'"""),
        ("True", "true"),
        ("", "null"),
        ("{", "double quotes"),
        ("NaN", "NaN --text"),
    ],
)
def test_a_hint_says_what_to_type_instead(text: str, expected: str) -> None:
    assert expected in hint(text)


@pytest.mark.parametrize("text", ["hello", "{a: 1}", "NaN", "[Infinity]", "", "1 2"])
def test_what_is_not_json_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(NotJsonError, match="DATA is not JSON"):
        parse_json(text)


def test_a_long_text_is_not_repeated_in_full() -> None:
    with pytest.raises(NotJsonError) as error:
        parse_json("x" * 1000)
    assert "x" * 100 not in str(error.value).splitlines()[0]
