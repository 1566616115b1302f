"""How a record is addressed and wrapped: shared by the asyncio client and the blocking `send`."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from midstream.codec import ANY
from midstream.errors import PayloadError
from midstream.v1.record_pb2 import Payload

MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024
"""A server takes no larger message, whatever its settings; one would break the call for the other records on it."""


class DeclaredStream(Protocol):
    """What sending needs of an InputStream."""

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
        raise _in_stream(_too_large(payload), stream_id_of(stream))
    return payload


def check_pairs(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata as the wire takes it. Raises TypeError for anything but strings."""
    pairs = dict(metadata or {})
    if not all(isinstance(text, str) for pair in pairs.items() for text in pair):
        raise TypeError(f"metadata maps strings to strings, got {pairs!r}")
    return pairs


def _in_stream(error: PayloadError, stream_id: str) -> PayloadError:
    """The same error, saying which stream it is about."""
    return PayloadError(
        f"stream {stream_id!r}: {error.message}",
        reason=error.reason,
        code=error.code,
        metadata={**error.metadata, "stream_id": stream_id},
        fields=error.fields,
    )


def _too_large(payload: Payload) -> PayloadError:
    return PayloadError(
        f"a payload of {payload.ByteSize()} bytes is too large for any server; store it elsewhere and send a reference",
        reason="PAYLOAD_TOO_LARGE",
        code="INVALID_ARGUMENT",
        metadata={"payload_bytes": str(payload.ByteSize()), "max_payload_bytes": str(MAX_PAYLOAD_BYTES)},
    )
