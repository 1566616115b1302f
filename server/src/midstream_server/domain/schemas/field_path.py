"""Where in a payload: as a program would write it, such as `items[2].price` and `tags["a"]`."""

import json
import re
from collections.abc import Iterable
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)


class Key(str):
    """The key of a map: always in brackets."""

    __slots__ = ()


def field_path(path: Any) -> str:
    """Of a buf.validate.FieldPath; None is the whole message."""
    if path is None:
        return ""
    text = ""
    for element in path.elements:
        if text:
            text += "."
        text += element.field_name
        if element.subscript is not None:
            text += f"[{_subscript(element.subscript.value)}]"
    return text


def instance_path(path: Iterable[str | int]) -> str:
    """Of a JSON value: names of properties and numbers of items."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not isinstance(step, Key) and _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def _subscript(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
