"""Runs, records and receipts as JSON objects: the stable shapes that --json prints.

Names are those of the contract. Times are RFC 3339 in UTC, null where there is none. `value` is the JSON value; where
`encoding` is `raw` or `proto` it is base64, and `type_name` names the protobuf message.
"""

import base64
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from midstream import Direction, Receipt, Record, Rewound, Run
from midstream.v1.record_pb2 import TypedMessage

Json = dict[str, Any]


def run(run: Run, *, full: bool = True) -> Json:
    """A run; in a list (`full` false) without payload, result and failures, which the server leaves out there."""
    shape: Json = {
        "run_id": run.id,
        "task": run.task,
        "kind": str(run.kind),
        "state": str(run.state),
        "create_time": time(run.create_time),
        "start_time": time(run.start_time),
        "finish_time": time(run.finish_time),
        "deadline": time(run.deadline),
        "cancel_time": time(run.cancel_time),
        "delete_time": time(run.delete_time),
        "last_offset": run.last_offset,
        "streams": [asdict(stream) for stream in run.streams],
        "handler_failure_count": run.handler_failure_count,
        "metadata": dict(run.metadata),
    }
    if full:
        shape["outputs"] = [asdict(output) for output in run.outputs]
        shape["payload"] = value(run.payload)
        shape["result"] = None if run.result_proto is None else value(run.result)
        shape["failure"] = None if run.failure is None else asdict(run.failure)
        shape["handler_failures"] = [
            {**asdict(failure), "record_time": time(failure.record_time)} for failure in run.handler_failures
        ]
    return shape


def record(record: Record) -> Json:
    """A record."""
    return {
        "run_id": record.run_id,
        "stream_id": record.stream_id,
        "direction": str(record.direction),
        "seq": record.seq,
        "offset": record.offset,
        "accept_time": time(record.accept_time),
        **value(record.value),
        "sender": asdict(record.sender),
        "idempotency_key": record.key,
        "metadata": dict(record.metadata),
        "schema_version": record.schema_version,
    }


def rewound(mark: Rewound) -> Json:
    """A mark among the records of output streams."""
    return {
        "run_id": mark.run_id,
        "stream_id": mark.stream_id,
        "direction": str(Direction.OUTPUT),
        "seq": mark.seq,
        "offset": mark.offset,
        "accept_time": time(mark.accept_time),
        "rewound": [each._asdict() for each in mark.ranges],
    }


def receipt(receipt: Receipt, run_id: str, stream_id: str) -> Json:
    """Where a sent record stands."""
    return {
        "run_id": run_id,
        "stream_id": stream_id,
        "seq": receipt.seq,
        "offset": receipt.offset,
        "accept_time": time(receipt.accept_time),
        "deduplicated": receipt.deduplicated,
        "dropped_count": receipt.dropped,
    }


def value(value: object) -> Json:
    """A decoded payload with its encoding."""
    if isinstance(value, bytes):
        return {"encoding": "raw", "value": base64_text(value)}
    if isinstance(value, TypedMessage):
        return {"encoding": "proto", "type_name": value.type_name, "value": base64_text(value.value)}
    return {"encoding": "json", "value": value}


def time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds, such as `2026-11-22T19:00:00.000000Z`."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def dumps(shape: object) -> str:
    """JSON on one line. Half a surrogate pair, which UTF-8 cannot hold, stays an escape."""
    text = json.dumps(shape, ensure_ascii=False)
    return text if text.isprintable() or _is_utf8(text) else json.dumps(shape)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def base64_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
