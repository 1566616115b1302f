"""Declaring an output stream, and appending to it inside a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from midstream import ambient
from midstream.codec import codec_for
from midstream.models import Record
from midstream.streams import check_id, encode_output

if TYPE_CHECKING:
    from midstream.v1.record_pb2 import Payload

T = TypeVar("T")


@overload
def output_stream(id: str, type: None = None) -> "OutputStream[Any]": ...
@overload
def output_stream(id: str, type: type[T]) -> "OutputStream[T]": ...
@overload
def output_stream(id: str, type: Any) -> "OutputStream[Any]": ...
def output_stream(id: str, type: Any = None) -> "OutputStream[Any]":
    """Declares a stream out of runs: its name within a run, and the type of its values, as `input_stream` does.

    Raises ValueError for a malformed id, TypeError for a type that cannot be used.
    """
    return OutputStream(id, type)


@overload
def output(stream: str) -> "OutputStream[Any]": ...
@overload
def output(stream: "OutputStream[T]") -> "OutputStream[T]": ...
def output(stream: "str | OutputStream[Any]") -> "OutputStream[Any]":
    """An output stream of the run that this code is in: by its name, for any JSON, or as it was declared."""
    return OutputStream(stream) if isinstance(stream, str) else stream


class OutputStream(Generic[T]):
    """A named, typed, ordered channel out of a run.

    `append` works in a task and in the code of its steps. A step that fails or is lost, and runs again, takes back what
    it has appended: readers see each answer once. In an attached run, use `await run.output(stream).append(...)`.
    """

    def __init__(self, id: str, type: type[T] | None = None) -> None:
        check_id(id)
        self.id = id
        self.type = type
        self.codec = codec_for(type)

    def __repr__(self) -> str:
        return f"<OutputStream {self.id!r}>"

    def encode(self, value: T) -> "Payload":
        """The value's payload. Raises PayloadError where it does not fit the stream's type."""
        return self.codec.encode(value)

    def decode(self, record: Record) -> T:
        """The record's value. Raises PayloadError where it does not fit the stream's type."""
        return self.codec.decode(record.payload)

    def append(self, value: T, *, metadata: Mapping[str, str] | None = None) -> None:
        """Puts a record behind those that were appended before. Does not wait for the server.

        Whatever the run does next - a step's result, a suspension, its end - comes after it. In a step that is not
        async, it waits while too much is on its way.

        Raises PayloadError where the value does not fit the stream's type or has over 1 MiB, RuntimeError outside a run
        or, in an async step, where over 64 MiB are on their way: `await flush()` now and then.
        """
        payload, pairs = encode_output(self, value, metadata)
        self._outputs("append").append(self.id, payload, pairs)

    async def flush(self) -> None:
        """In a step: returns when all that the run has appended is on disk. Raises RuntimeError elsewhere."""
        await self._outputs("flush").flush()

    def _outputs(self, what: str) -> "ambient.Outputs":
        outputs = ambient.outputs_in_block.get()
        if outputs is None:
            raise RuntimeError(
                f"output stream {self.id!r}: {what} was called outside a run. It works in a task and in the code of "
                "its steps; in an attached run write `await run.output(stream).append(...)`"
            )
        return outputs
