"""What starting a run asks of the server."""

from collections.abc import Iterable, Mapping
from typing import Any

from midstream import durations, ulid
from midstream.codec import ANY
from midstream.durations import Duration
from midstream.streams import Stream, check_pairs, encode, stream_id_of
from midstream.v1.record_pb2 import NewRecord
from midstream.v1.run_pb2 import RunSpec
from midstream.v1.run_service_pb2 import StartRunRequest


def new_run_id() -> str:
    """Chosen here and not by the server, so that a repeated call finds the run that the first one made."""
    return f"run_{ulid.new()}"


def run_spec(task: str, payload: Any, *, max_duration: Duration | None, metadata: Mapping[str, str] | None) -> RunSpec:
    """What a new run is made of."""
    spec = RunSpec(task=task, payload=ANY.encode(payload), metadata=check_pairs(metadata))
    if max_duration is not None:
        spec.max_duration.FromMicroseconds(durations.parse(max_duration))
    return spec


def start_run_request(run_id: str, spec: RunSpec, records: Iterable[tuple[Stream, Any]]) -> StartRunRequest:
    """`records` are stored with the run."""
    request = StartRunRequest(run_id=run_id, spec=spec)
    for stream, value in records:
        # The place in the list, not a random key: the same call again must have the same content.
        key = f"first-{len(request.records) + 1}"
        record = NewRecord(payload=encode(stream, value), idempotency_key=key)
        request.records.add(stream_id=stream_id_of(stream), record=record)
    return request
