"""How a record is addressed and wrapped: shared by the asyncio client and the blocking `send`."""

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from midstream.codec import ANY
from midstream.errors import PayloadError
from midstream.v1.record_pb2 import Payload

MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024
"""A server takes no larger message, whatever its settings; one would break the call for the other records on it."""


MAX_OUTPUT_BYTES: Final = 1024 * 1024
"""Of one record's content: the most that a server may be set to. Here, since an append does not wait for the server."""
_MAX_PAIRS: Final = 32
_MAX_PAIRS_BYTES: Final = 8 * 1024
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class DeclaredStream(Protocol):
    """What sending needs of an InputStream, and appending of an OutputStream."""

    id: str

    def encode(self, value: Any, /) -> Payload: ...


Stream = str | DeclaredStream
"""A stream by its name, for any JSON, or as it was declared."""


def stream_id_of(stream: Stream) -> str:
    return stream if isinstance(stream, str) else stream.id


def encode(stream: Stream, value: Any) -> Payload:
    """The payload for `value` on this stream. Raises PayloadError, which names the stream."""
    try:
        payload: Payload = ANY.encode(value) if isinstance(stream, str) else stream.encode(value)
    except PayloadError as error:
        raise _in_stream(error, stream_id_of(stream)) from error
    if payload.ByteSize() > MAX_PAYLOAD_BYTES:
        raise _in_stream(_too_large(payload.ByteSize(), MAX_PAYLOAD_BYTES), stream_id_of(stream))
    return payload


def check_pairs(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata as the wire takes it. Raises TypeError for anything but strings."""
    pairs = dict(metadata or {})
    if not all(isinstance(text, str) for pair in pairs.items() for text in pair):
        raise TypeError(f"metadata maps strings to strings, got {pairs!r}")
    return pairs


def check_id(id: str) -> None:
    """Raises ValueError where it cannot name a stream."""
    if _ID.fullmatch(id) is None:
        raise ValueError(
            f"{id!r} cannot name a stream: use 1 to 128 letters, digits, '.', '_' or '-', "
            "and begin with a letter or digit"
        )


def encode_output(stream: Stream, value: Any, metadata: Mapping[str, str] | None) -> tuple[Payload, Mapping[str, str]]:
    """What is to be appended to an output stream. Raises PayloadError, and ValueError for too much metadata."""
    payload = encode(stream, value)
    if payload.ByteSize() > MAX_OUTPUT_BYTES and (size := _content_bytes(payload)) > MAX_OUTPUT_BYTES:
        raise _in_stream(_too_large(size, MAX_OUTPUT_BYTES), stream_id_of(stream))
    if not metadata:
        return payload, {}
    pairs = check_pairs(metadata)
    if len(pairs) > _MAX_PAIRS or sum(len(text.encode()) for pair in pairs.items() for text in pair) > _MAX_PAIRS_BYTES:
        raise ValueError(f"metadata is at most {_MAX_PAIRS} pairs and {_MAX_PAIRS_BYTES:,} bytes")
    return payload, pairs


def _content_bytes(payload: Payload) -> int:
    match payload.WhichOneof("content"):
        case "json":
            return len(payload.json.encode())
        case "proto":
            return len(payload.proto.value)
        case _:
            return len(payload.raw)


def _in_stream(error: PayloadError, stream_id: str) -> PayloadError:
    """The same error, saying which stream it is about."""
    return PayloadError(
        f"stream {stream_id!r}: {error.message}",
        reason=error.reason,
        code=error.code,
        metadata={**error.metadata, "stream_id": stream_id},
        fields=error.fields,
    )


def _too_large(size: int, limit: int) -> PayloadError:
    return PayloadError(
        f"a payload of {size} bytes is too large for any server; store it elsewhere and send a reference",
        reason="PAYLOAD_TOO_LARGE",
        code="INVALID_ARGUMENT",
        metadata={"payload_bytes": str(size), "max_payload_bytes": str(limit)},
    )
