"""What a run, a stream and a task may be called."""

import re

from midstream_server.domain.errors import field_invalid

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_RULE = "1 to 128 characters of A-Z a-z 0-9 . _ -, beginning with a letter or digit"


def check_name(path: str, value: str) -> str:
    """Returns `value` if it is a legal name; else refuses the field at `path`."""
    if _NAME.fullmatch(value) is None:
        shown = value if len(value) <= 140 else value[:140] + "…"
        raise field_invalid(path, f"is required: {_RULE}" if not value else f"{shown!r} is not a name: {_RULE}")
    return value
