"""What a person types as data: JSON, or a hint at what they meant."""

import ast
import json
import re
import shlex
from typing import NoReturn


class NotJsonError(ValueError):
    """The text is not JSON; the message shows where it breaks and what to type instead."""


def parse_json(text: str) -> object:
    """Returns the value of a JSON text; raises NotJsonError with a way to put it right."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise NotJsonError(f"DATA is not JSON: {_problem(text, error)}.\n{hint(text)}") from None


def hint(text: str) -> str:
    """What to type instead of `text`: the JSON that was meant, or the same text with --text."""
    meant = _meant(text)
    if meant is not None:
        return f"Did you mean:  {shlex.quote(meant)}"
    if text.lstrip()[:1] in ("{", "["):
        return """JSON needs double quotes inside and, in a shell, single quotes around it: '{"key": "value"}'"""
    if text.strip() == "":
        return "To send an empty text, give '\"\"'; to send nothing but a signal, give null."
    return f"To send it as text:  {shlex.quote(text)} --text"


def _problem(text: str, error: ValueError) -> str:
    shown = text if len(text) <= 40 else text[:39] + "…"
    if isinstance(error, json.JSONDecodeError):
        return f"{shown!r} ({error.msg} at line {error.lineno}, column {error.colno})"
    return f"{shown!r} ({error})"


def _meant(text: str) -> str | None:
    """The JSON behind a Python literal such as `{'a': None}`, or behind quotes that a shell has eaten: `{a: true}`."""
    if text.lstrip()[:1] not in ("{", "[") and text.strip() not in ("True", "False", "None"):
        return None
    quoted = re.sub(r"([{,]\s*)([A-Za-z_][\w-]*)(\s*:)", r'\1"\2"\3', text)
    words = re.sub(r"(:\s*)(?!true\b|false\b|null\b)([A-Za-z_][^,{}\[\]\"]*?)(\s*[,}])", r'\1"\2"\3', quoted)
    for candidate in (quoted, words):
        try:
            return json.dumps(json.loads(candidate, parse_constant=_refuse_constant), ensure_ascii=False)
        except ValueError:
            continue
    try:
        return json.dumps(ast.literal_eval(text.strip()), ensure_ascii=False, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
