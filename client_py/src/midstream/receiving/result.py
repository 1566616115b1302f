"""What a receive with a timeout came to."""

from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, NoReturn, TypeVar

from midstream.errors import MidstreamError
from midstream.models import Record

T = TypeVar("T")


class ReceiveTimeout(TimeoutError):
    """No record arrived in time. Nothing was consumed: the next receive gets the next record."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"no record arrived on stream {stream_id!r} before the timeout")
        self.stream_id = stream_id


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """A record arrived and fits the stream's type. Its value may be None: `ok` tells, not `output`."""

    output: T
    record: Record
    error: ClassVar[None] = None
    ok: ClassVar[Literal[True]] = True

    def unwrap(self) -> T:
        """The value."""
        return self.output


@dataclass(frozen=True, slots=True)
class NotReceived:
    """No value.

    `error` is a ReceiveTimeout, or a RecordInvalid for a record that does not fit the stream's type; that record is
    consumed, and found in `record`: the next receive gets the one behind it.
    """

    error: ReceiveTimeout | MidstreamError
    record: Record | None = None
    output: ClassVar[None] = None
    ok: ClassVar[Literal[False]] = False

    def unwrap(self) -> NoReturn:
        """Raises `error`."""
        raise self.error


Result = Received[T] | NotReceived
"""`if result.ok:` tells a type checker that `result.output` is a value."""
