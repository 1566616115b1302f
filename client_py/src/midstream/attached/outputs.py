"""What an attached run appends to an output stream."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from midstream import ulid
from midstream.errors import from_status
from midstream.models import Receipt
from midstream.streams import Stream, encode_output, stream_id_of
from midstream.v1.record_pb2 import NewRecord
from midstream.v1.stream_service_pb2 import AppendOutputRequest

if TYPE_CHECKING:
    from midstream.connection import Connection


class AttachedOutput:
    """An output stream of an attached run."""

    def __init__(self, connection: "Connection", run_id: str, stream: Stream) -> None:
        self._connection = connection
        self._run_id = run_id
        self._stream = stream

    async def append(self, value: Any, *, key: str | None = None, metadata: Mapping[str, str] | None = None) -> Receipt:
        """Puts a record behind those that were appended before; when this returns, it is on disk.

        `key`: makes appending again harmless; unset, a random one covers the client's own retries. Raises
        MidstreamError, such as PayloadError where the value does not fit the stream, or RunFinished.
        """
        payload, pairs = encode_output(self._stream, value, metadata)
        record = NewRecord(payload=payload, idempotency_key=ulid.new() if key is None else key, metadata=pairs)
        request = AppendOutputRequest(run_id=self._run_id, stream_id=stream_id_of(self._stream), records=[record])
        response = await self._connection.unary(self._connection.streams.AppendOutput, request)
        (receipt,) = response.receipts
        if receipt.HasField("error"):
            raise from_status(receipt.error)
        return Receipt.from_proto(receipt.accepted)
