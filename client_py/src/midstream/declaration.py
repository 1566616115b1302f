"""What a stream's declaration says besides its name and type, and where it is read from."""

from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from google.protobuf.message import Message

from midstream.v1.input_stream_pb2 import InputStreamOptions, input_stream

M = TypeVar("M", bound=Message)

WhenFull = Literal["reject", "drop_oldest"]

_WHEN_FULL: Final[dict[WhenFull, InputStreamOptions.WhenFull.ValueType]] = {
    "reject": InputStreamOptions.WHEN_FULL_REJECT,
    "drop_oldest": InputStreamOptions.WHEN_FULL_DROP_OLDEST,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What a stream promises, once its schema is registered. None: what the server allows."""

    max_payload_bytes: int | None = None
    """The largest payload."""

    max_unread_records: int | None = None
    """How many records may wait."""

    when_full: WhenFull = "reject"
    """What becomes of one more: it is refused, or the oldest that waits is dropped."""

    backend_only: bool = False
    """Access tokens cannot send to it."""

    def to_proto(self, stream_id: str) -> InputStreamOptions:
        return InputStreamOptions(
            id=stream_id,
            max_payload_bytes=self.max_payload_bytes or 0,
            max_unread_records=self.max_unread_records or 0,
            when_full=_WHEN_FULL[self.when_full],
            backend_only=self.backend_only,
        )

    def check(self) -> None:
        """Raises ValueError for what no stream can promise."""
        for name in ("max_payload_bytes", "max_unread_records"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ValueError(f"{name} must be at least 1, got {limit}; leave it out for what the server allows")
        if self.when_full not in _WHEN_FULL:
            raise ValueError(f"when_full is one of {', '.join(map(repr, _WHEN_FULL))}, got {self.when_full!r}")


def declared_in_proto(message_type: type[Message]) -> InputStreamOptions | None:
    """The message's option `(midstream.v1.input_stream)`, if it has one."""
    options = message_type.DESCRIPTOR.GetOptions()
    return options.Extensions[input_stream] if options.HasExtension(input_stream) else None


def from_proto(options: InputStreamOptions) -> StreamOptions:
    return StreamOptions(
        max_payload_bytes=options.max_payload_bytes or None,
        max_unread_records=options.max_unread_records or None,
        when_full="drop_oldest" if options.when_full == InputStreamOptions.WHEN_FULL_DROP_OLDEST else "reject",
        backend_only=options.backend_only,
    )
