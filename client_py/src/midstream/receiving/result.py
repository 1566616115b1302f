"""What a receive with a timeout came to."""

from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from midstream.errors import MidstreamError
from midstream.models import Record

T = TypeVar("T")


class ReceiveTimeout(TimeoutError):
    """No record arrived in time. Nothing was consumed: the next receive gets the next record."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"no record arrived on stream {stream_id!r} before the timeout")
        self.stream_id = stream_id


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """Either a value or an error, never both; `ok` tells which, since the value itself may be None.

    `error` is a ReceiveTimeout, or a PayloadError for a record that does not fit the stream's type; that record is
    consumed, and found in `record`.
    """

    output: T | None
    error: ReceiveTimeout | MidstreamError | None
    record: Record | None

    @property
    def ok(self) -> bool:
        return self.error is None

    def unwrap(self) -> T:
        """The value; raises `error` where there is none."""
        if self.error is not None:
            raise self.error
        return cast(T, self.output)
