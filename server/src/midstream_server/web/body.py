"""A request's body, bounded in size and in patience."""

import asyncio
import base64
import binascii
import re
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from midstream_server.web import failure

MAX_BYTES: Final = 5 * 1024 * 1024
SILENCE_SECONDS: Final = 30.0
"""A client that sends nothing for so long has lost its connection."""

Receive = Callable[[], Awaitable[Any]]

_ENVELOPE: Final = struct.Struct(">BI")
_COMPRESSED: Final = 0x01
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


class ClientGone(Exception):
    """Nobody is there to answer."""


async def read_body(receive: Receive, content_length: str | None, *, limit: int = MAX_BYTES) -> bytes:
    """Raises WebFailure, ClientGone."""
    if content_length is not None and content_length.isdecimal() and int(content_length[:20]) > limit:
        raise failure.too_large(limit)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                event = await receive()
        except TimeoutError:
            raise failure.malformed(f"no more of the request came within {SILENCE_SECONDS:g} s") from None
        if event["type"] != "http.request":
            raise ClientGone
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise failure.too_large(limit)
        chunks.append(chunk)
        more = event.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decompress(data: bytes, encoding: str, *, limit: int = MAX_BYTES) -> bytes:
    """Raises WebFailure where it is another encoding than gzip, damaged, or too large once unpacked."""
    if encoding in ("", "identity"):
        return data
    if encoding != "gzip":
        raise failure.unsupported_encoding(encoding)
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        unpacked = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise failure.malformed(f"the request is not valid gzip: {error}") from None
    if len(unpacked) > limit:
        raise failure.too_large(limit)
    if not unpacker.eof:
        raise failure.malformed("the request is not valid gzip: it is cut off")
    return unpacked


def envelope(flags: int, content: bytes) -> bytes:
    """A frame of Connect's streams and of gRPC-Web."""
    return _ENVELOPE.pack(flags, len(content)) + content


def sole_message(body: bytes, encoding: str) -> bytes:
    """The message of a body that must be one frame. Raises WebFailure."""
    if len(body) < _ENVELOPE.size:
        raise failure.malformed(f"the request has {len(body)} bytes, less than the 5 of a frame's prefix")
    flags, length = _ENVELOPE.unpack_from(body)
    if flags not in (0, _COMPRESSED):
        raise failure.malformed(f"the request's frame has flags {flags:#04x}, which mean nothing in a request")
    if length != len(body) - _ENVELOPE.size:
        rest = len(body) - _ENVELOPE.size
        raise failure.malformed(f"the request's frame announces {length} bytes, {rest} came: send one message")
    message = body[_ENVELOPE.size :]
    if flags == 0:
        return message
    if encoding in ("", "identity"):
        raise failure.malformed("the request's frame is marked as compressed, its encoding header is missing")
    return decompress(message, encoding)


def from_base64(body: bytes) -> bytes:
    """Raises WebFailure. Each frame may have been encoded, and padded, for itself."""
    parts = _BASE64.findall(body)
    try:
        if sum(map(len, parts)) != len(body):
            raise binascii.Error
        return b"".join(base64.b64decode(part, validate=True) for part in parts)
    except binascii.Error:
        raise failure.malformed("the request is not valid base64, as grpc-web-text is") from None
