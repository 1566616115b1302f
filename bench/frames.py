"""Messages of the measured sizes, built by hand where a figure goes past the client library."""

import os
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from midstream import ulid
from midstream.v1 import record_pb2, stream_service_pb2

STREAM = "events"
RUN_ID = "run_01JD0000000000000000000000"


def send_request(run_id: str, records: int, payload_bytes: int) -> bytes:
    """A serialised SendRequest whose records carry random content and keys, as the client's do."""
    request = stream_service_pb2.SendRequest(
        run_id=run_id,
        stream_id=STREAM,
        records=[
            record_pb2.NewRecord(
                client_ref=ref,
                payload=record_pb2.Payload(raw=os.urandom(payload_bytes)),
                idempotency_key=ulid.new(),
            )
            for ref in range(records)
        ],
    )
    return request.SerializeToString()


@lru_cache(maxsize=4)
def record_batch(records: int, payload_bytes: int) -> bytes:
    """A serialised SubscribeResponse with that many records as the server stores them."""
    batch = stream_service_pb2.SubscribeResponse.Records(
        records=[
            record_pb2.Record(
                run_id=RUN_ID,
                stream_id=STREAM,
                seq=seq,
                offset=seq + 1,
                payload=record_pb2.Payload(raw=os.urandom(payload_bytes)),
                sender=record_pb2.Sender(kind=record_pb2.Sender.KIND_ANONYMOUS),
                accept_time=Timestamp(seconds=1_790_000_000, nanos=123_456_000),
                idempotency_key=ulid.new(),
            )
            for seq in range(1, records + 1)
        ]
    )
    return stream_service_pb2.SubscribeResponse(records=batch).SerializeToString()
