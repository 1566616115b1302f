"""Page tokens: a position, bound to the filters that it was made with."""

import base64
import binascii
import hashlib

from midstream_server.domain import errors

_MAX_POSITION = 2**63 - 1


def write_token(position: int, filters: str) -> str:
    return base64.urlsafe_b64encode(_digest(filters) + position.to_bytes(8)).decode().rstrip("=")


def read_token(token: str, filters: str) -> int | None:
    """The position; None for the first page. Raises Refused for a token of another request, or of none."""
    if not token:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    position = int.from_bytes(raw[8:])
    if len(raw) != 16 or raw[:8] != _digest(filters) or position > _MAX_POSITION:
        raise errors.field_invalid("page_token", "is not a token of this request; begin again with an empty one")
    return position


def write_text_token(position: str, filters: str) -> str:
    """The same for a position that is a text."""
    return base64.urlsafe_b64encode(_digest(filters) + position.encode()).decode().rstrip("=")


def read_text_token(token: str, filters: str) -> str:
    """The position; empty for the first page. Raises Refused for a token of another request, or of none."""
    if not token:
        return ""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        position = raw[8:].decode()
    except (binascii.Error, ValueError):
        raw, position = b"", ""
    if not position or "\0" in position or raw[:8] != _digest(filters):
        raise errors.field_invalid("page_token", "is not a token of this request; begin again with an empty one")
    return position


def _digest(filters: str) -> bytes:
    return hashlib.blake2b(filters.encode(), digest_size=8).digest()
