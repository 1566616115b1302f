"""How a record is addressed and wrapped: shared by the asyncio client and the blocking `send`."""

from collections.abc import Mapping
from typing import Any, Protocol

from midstream.codec import ANY
from midstream.errors import PayloadError
from midstream.v1.record_pb2 import Payload


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
        return ANY.encode(value) if isinstance(stream, str) else stream.encode(value)
    except PayloadError as error:
        raise _in_stream(error, stream_id_of(stream)) from error


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
