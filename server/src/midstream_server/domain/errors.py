"""Why a request is refused, in the domain's words. `transport.status` maps each to a gRPC status."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """The names of `midstream.v1.ErrorReason`, without their prefix."""

    FIELD_INVALID = "FIELD_INVALID"
    FRAME_OUT_OF_ORDER = "FRAME_OUT_OF_ORDER"
    RUN_NOT_FOUND = "RUN_NOT_FOUND"
    RUN_FINISHED = "RUN_FINISHED"
    RUN_ID_REUSED = "RUN_ID_REUSED"
    RUN_MANAGED = "RUN_MANAGED"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    PAYLOAD_INVALID = "PAYLOAD_INVALID"
    STREAM_FULL = "STREAM_FULL"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    FENCED = "FENCED"
    ACK_AHEAD = "ACK_AHEAD"
    SERVER_DRAINING = "SERVER_DRAINING"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    INTERNAL = "INTERNAL"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    TOKEN_REVOKED = "TOKEN_REVOKED"
    TOKEN_USED_UP = "TOKEN_USED_UP"
    SCOPE_MISSING = "SCOPE_MISSING"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_MANY_SUBSCRIPTIONS = "TOO_MANY_SUBSCRIPTIONS"
    SCHEMA_INVALID = "SCHEMA_INVALID"
    SCHEMA_INCOMPATIBLE = "SCHEMA_INCOMPATIBLE"
    SCHEMA_NOT_FOUND = "SCHEMA_NOT_FOUND"
    STREAM_UNDECLARED = "STREAM_UNDECLARED"
    STREAM_BACKEND_ONLY = "STREAM_BACKEND_ONLY"


class Violation(NamedTuple):
    """What is wrong with one field. `rule` is the id of the rule that it breaks, such as `string.max_len`."""

    field: str
    description: str
    rule: str = ""


@dataclass(eq=False)
class Refused(Exception):
    """A request that changes nothing, with the reason why.

    `message` is for a person: what happened, with which value, and what to do. `metadata` holds the same values for a
    program. `fields` maps a request field's path to what is wrong with it; `violations` is set instead where rules are
    broken. `retry_after_us` (microseconds) is set where the same request may succeed later.
    """

    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_us: int | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def field_invalid(path: str, problem: str) -> Refused:
    """The request's field at `path` is missing, malformed or out of range."""
    return Refused(Reason.FIELD_INVALID, f"{path}: {problem}", {"field": path}, fields={path: problem})


def run_not_found(run_id: str) -> Refused:
    return Refused(
        Reason.RUN_NOT_FOUND,
        f"no run {run_id!r}; it may have been deleted after its retention, or the id may be mistyped",
        {"run_id": run_id},
    )


def run_finished(run_id: str, state: str) -> Refused:
    return Refused(
        Reason.RUN_FINISHED,
        f"run {run_id!r} has ended ({state}) and takes no more records",
        {"run_id": run_id, "state": state},
    )


def run_id_reused(run_id: str, differs: str) -> Refused:
    return Refused(
        Reason.RUN_ID_REUSED,
        f"a run {run_id!r} exists already with another {differs}; choose another id, or leave it empty",
        {"run_id": run_id, "differs": differs},
    )


def run_managed(run_id: str) -> Refused:
    return Refused(
        Reason.RUN_MANAGED,
        f"run {run_id!r} is managed: only its worker consumes its records and finishes it; use Tail to observe it",
        {"run_id": run_id},
    )


def output_of_managed(run_id: str) -> Refused:
    return Refused(
        Reason.RUN_MANAGED,
        f"run {run_id!r} is managed: its task appends to its output streams, through its worker",
        {"run_id": run_id},
    )


def key_reused(key: str, seq: int) -> Refused:
    return Refused(
        Reason.IDEMPOTENCY_KEY_REUSED,
        f"idempotency key {key!r} belongs to record {seq}, whose payload differs; use a new key for new data",
        {"idempotency_key": key, "seq": str(seq)},
    )


def payload_too_large(size: int, limit: int) -> Refused:
    return Refused(
        Reason.PAYLOAD_TOO_LARGE,
        f"the payload has {size} bytes, the limit is {limit}; store it elsewhere and send a reference",
        {"payload_bytes": str(size), "max_payload_bytes": str(limit)},
        fields={"payload": f"has {size} bytes, over the limit of {limit}"},
    )


def payload_invalid(path: str, problem: str) -> Refused:
    return Refused(Reason.PAYLOAD_INVALID, f"{path}: {problem}", {"field": path}, fields={path: problem})


def on_stream(flaw: Refused, stream_id: str) -> Refused:
    """The flaw of a record, with the stream that the record is for."""
    return replace(flaw, metadata={**flaw.metadata, "stream_id": stream_id})


def stream_full(stream_id: str, *, unread: int, limit: int, unit: str) -> Refused:
    """`unit` is `records` or `bytes`."""
    return Refused(
        Reason.STREAM_FULL,
        f"stream {stream_id!r} holds {unread} unread {unit} of at most {limit}; retry when the run has consumed some",
        {"stream_id": stream_id, f"unread_{unit}": str(unread), f"max_unread_{unit}": str(limit)},
        retry_after_us=1_000_000,
    )


def too_many_streams(limit: int) -> Refused:
    return Refused(
        Reason.TOO_MANY_STREAMS,
        f"the run has {limit} streams already, the limit; send to one of them",
        {"max_streams": str(limit)},
    )


def fenced(stream_id: str, *, holder_epoch: int, current_epoch: int) -> Refused:
    return Refused(
        Reason.FENCED,
        f"another process has become the holder of stream {stream_id!r} "
        f"(epoch {current_epoch}, this one has {holder_epoch}); stop, or become the holder anew with epoch 0",
        {"stream_id": stream_id, "holder_epoch": str(holder_epoch), "current_epoch": str(current_epoch)},
    )


def lease_lost() -> Refused:
    return Refused(
        Reason.FENCED,
        "the worker's lease has run out or another connection of the same worker has replaced this one; "
        "drop its runs and open anew",
    )


def ack_ahead(*, through_seq: int, delivered_seq: int) -> Refused:
    return Refused(
        Reason.ACK_AHEAD,
        f"cannot acknowledge up to {through_seq}: only records up to {delivered_seq} were delivered",
        {"through_seq": str(through_seq), "delivered_seq": str(delivered_seq)},
    )


def frame_out_of_order(frame: str, expected: str) -> Refused:
    return Refused(
        Reason.FRAME_OUT_OF_ORDER,
        f"got frame {frame!r}, expected {expected!r}",
        {"frame": frame, "expected": expected},
    )


def server_draining() -> Refused:
    return Refused(
        Reason.SERVER_DRAINING,
        "the server is shutting down; reconnect and go on from the last position",
        retry_after_us=200_000,
    )


def store_unavailable(problem: str) -> Refused:
    return Refused(
        Reason.STORE_UNAVAILABLE,
        f"the store could not take the write ({problem}); nothing was acknowledged: retry with the same key",
        retry_after_us=1_000_000,
    )
