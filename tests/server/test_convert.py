"""Between the contract's messages and the domain's values."""

import pytest
from google.protobuf.duration_pb2 import Duration

from midstream.v1.handler_failure_pb2 import HandlerFailure
from midstream.v1.record_pb2 import Payload
from midstream.v1.run_pb2 import Failure, Outcome, RunSpec
from midstream.v1.run_pb2 import Run as RunMessage
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.run import Kind, Run, State, StreamStatus
from midstream_server.transport import convert
from midstream_server.transport.drafts import Drafter

DRAFTER = Drafter(Limits())
NOW_US = 1_767_225_600_123_456


@pytest.mark.parametrize(
    ("seconds", "nanos", "us"),
    [
        (0, 0, 0),
        (1, 0, 1_000_000),
        (0, 1, 1),
        (0, 999, 1),
        (0, 1_000, 1),
        (0, 1_001, 2),
        (1, 999_999_999, 2_000_000),
        (-1, 0, -1_000_000),
        (0, -1, 0),
        (0, -1_000, -1),
        (0, -1_999, -1),
        (315_576_000_000, 999_999_999, 315_576_000_001_000_000),
    ],
)
def test_durations_are_rounded_up_to_microseconds(seconds: int, nanos: int, us: int) -> None:
    spec = RunSpec(max_duration=Duration(seconds=seconds, nanos=nanos))
    assert convert.optional_us(spec, "max_duration", "spec.max_duration") == us


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(0, 1_000_000_000), (2**63 - 1, 2**31 - 1), (0, -(2**31)), (1, -1), (-1, 1)]
)
def test_what_is_no_duration_is_refused(seconds: int, nanos: int) -> None:
    spec = RunSpec(max_duration=Duration(seconds=seconds, nanos=nanos))
    with pytest.raises(Refused) as refused:
        convert.optional_us(spec, "max_duration", "spec.max_duration")
    assert list(refused.value.fields) == ["spec.max_duration"]


def test_an_unset_duration_is_none() -> None:
    assert convert.optional_us(RunSpec(), "max_duration", "spec.max_duration") is None


@pytest.mark.parametrize("at_us", [0, 1, NOW_US, 253_402_300_799_999_999])
def test_timestamps_are_exact(at_us: int) -> None:
    assert convert.timestamp(at_us).ToMicroseconds() == at_us


def test_failures_are_cut() -> None:
    (encoded,) = convert.encode_failures(
        [HandlerFailure(seq=3, handler="h" * 300, error_type="e" * 300, message="é" * 5_000, stream_id="forged")]
    )
    kept = HandlerFailure.FromString(encoded.body)
    assert (encoded.seq, encoded.handler) == (3, "h" * 256)
    assert kept == HandlerFailure(seq=3, handler="h" * 256, error_type="e" * 256, message="é" * 4_096)


def test_a_spec_without_payload_is_null() -> None:
    spec = convert.spec(RunSpec(task="t", metadata={"a": "b"}), DRAFTER)
    assert (spec.task, spec.has_payload, spec.payload.flaw, spec.max_duration_us) == ("t", False, None, None)
    assert RunSpec.FromString(spec.encoded) == RunSpec(task="t", payload=Payload(json="null"), metadata={"a": "b"})
    given = convert.spec(RunSpec(task="t", payload=Payload(json="null")), DRAFTER)
    assert given.has_payload
    assert given.payload.payload == spec.payload.payload


def test_a_spec_is_checked() -> None:
    assert convert.spec(RunSpec(payload=Payload()), DRAFTER).payload.flaw is not None
    with pytest.raises(Refused) as refused:
        convert.spec(RunSpec(metadata={"k": "v" * 9_000}), DRAFTER)
    assert list(refused.value.fields) == ["spec.metadata"]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome(result=Payload(json="null")), State.COMPLETED),
        (Outcome(result=Payload(raw=b"")), State.COMPLETED),
        (Outcome(failure=Failure(error_type="ValueError", message="no", stack="at")), State.FAILED),
        (Outcome(failure=Failure()), State.FAILED),
        (Outcome(cancelled=Outcome.Cancelled()), State.CANCELLED),
    ],
    ids=lambda value: value.name if isinstance(value, State) else "",
)
def test_outcomes(outcome: Outcome, state: State) -> None:
    became, encoded = convert.outcome(outcome, DRAFTER)
    assert became is state
    assert Outcome.FromString(encoded) == outcome


def test_a_failure_is_cut_and_the_end_of_its_stack_kept() -> None:
    failure = Failure(error_type="e" * 300, message="m" * 5_000, stack="start" + "s" * 65_536)
    _, encoded = convert.outcome(Outcome(failure=failure), DRAFTER)
    assert Outcome.FromString(encoded).failure == Failure(error_type="e" * 256, message="m" * 4_096, stack="s" * 65_536)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(), Reason.FIELD_INVALID),
        (Outcome(result=Payload()), Reason.PAYLOAD_INVALID),
        (Outcome(result=Payload(json="no")), Reason.PAYLOAD_INVALID),
        (Outcome(result=Payload(raw=b"x" * (1024 * 1024 + 1))), Reason.PAYLOAD_TOO_LARGE),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else "",
)
def test_outcomes_that_are_refused(outcome: Outcome, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        convert.outcome(outcome, DRAFTER)
    assert refused.value.reason is reason


def a_run(outcome: Outcome | None, state: State) -> Run:
    return Run(
        no=7,
        run_id="run_1",
        task="t",
        kind=Kind.ATTACHED,
        state=state,
        spec=RunSpec(payload=Payload(json="1"), metadata={"a": "b"}).SerializeToString(),
        outcome=None if outcome is None else outcome.SerializeToString(),
        created_us=NOW_US,
        started_us=NOW_US + 1,
        finished_us=None if outcome is None else NOW_US + 2,
        deadline_us=None,
        cancel_us=None,
        delete_us=None,
        handler_failure_count=9,
        last_offset=5,
        streams=(StreamStatus("s", last_seq=4, cursor=1, unread_bytes=30),),
        handler_failures=(("s", NOW_US, HandlerFailure(seq=2, handler="h").SerializeToString()),),
    )


def test_a_run() -> None:
    message = convert.run(a_run(Outcome(result=Payload(json="2")), State.COMPLETED))
    assert (message.run_id, message.task, message.kind, message.state) == (
        "run_1",
        "t",
        RunMessage.KIND_ATTACHED,
        RunMessage.STATE_COMPLETED,
    )
    assert (message.payload.json, message.result.json, dict(message.metadata)) == ("1", "2", {"a": "b"})
    assert message.create_time.ToMicroseconds() == NOW_US
    assert message.start_time.ToMicroseconds() == NOW_US + 1
    assert message.finish_time.ToMicroseconds() == NOW_US + 2
    assert not any(message.HasField(field) for field in ("deadline", "cancel_time", "delete_time", "failure"))
    (stream,) = message.streams
    assert (stream.stream_id, stream.last_seq, stream.cursor, stream.unread_count, stream.unread_bytes) == (
        "s",
        4,
        1,
        3,
        30,
    )
    (failure,) = message.handler_failures
    assert (failure.seq, failure.stream_id, failure.record_time.ToMicroseconds()) == (2, "s", NOW_US)
    assert (message.handler_failure_count, message.last_offset) == (9, 5)


def test_a_failed_and_a_cancelled_run() -> None:
    failed = convert.run(a_run(Outcome(failure=Failure(message="no")), State.FAILED))
    assert (failed.failure.message, failed.HasField("result")) == ("no", False)
    cancelled = convert.run(a_run(Outcome(cancelled=Outcome.Cancelled()), State.CANCELLED))
    assert not cancelled.HasField("result")
    assert not cancelled.HasField("failure")


def test_a_run_in_a_list_is_brief() -> None:
    message = convert.run(a_run(Outcome(result=Payload(json="2")), State.COMPLETED), brief=True)
    assert not message.HasField("payload")
    assert not message.HasField("result")
    assert not message.handler_failures
    assert len(message.streams) == 1
    assert dict(message.metadata) == {"a": "b"}
