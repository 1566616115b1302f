"""Garbage on the wire: always a clear error, and the server goes on serving others."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from midstream.v1 import run_pb2, run_service_pb2, schema_service_pb2, stream_service_pb2, worker_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from support.calls import (
    STREAM,
    Subscriber,
    attach,
    connected,
    finish,
    get_run,
    new_record,
    numbers,
    reason_in,
    reason_of,
    receive,
    send,
)
from support.server_process import ServerProcess
from support.stubs import Stubs

METHODS = [
    method
    for module in (stream_service_pb2, run_service_pb2, schema_service_pb2, worker_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
SUBSCRIPTIONS = 10_000
BURST = 5_000


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with ServerProcess(tmp_path_factory.mktemp("garbage")) as process:
        yield process


@pytest.fixture
async def stubs(process: ServerProcess) -> AsyncIterator[Stubs]:
    """The caller under test. Afterwards another one is served, and the server's log holds no fault."""
    async with connected(process.url) as stubs:
        yield stubs
    async with connected(process.url) as others:
        await serves(others)
    assert process.faults() == []
    assert process.stderr_path.read_text() == ""


async def serves(stubs: Stubs) -> None:
    """The whole way of a record, and the end of its run."""
    run_id = await attach(stubs)
    reader = await Subscriber(stubs, run_id).open()
    await send(stubs, run_id, "1", "2")
    assert await reader.takes(2) == [1, 2]
    await reader.acks(2)
    await reader.hears("acked")
    await finish(stubs, run_id)
    await reader.hears("run_ended")


def raw_call(channel: grpc.aio.Channel, method: MethodDescriptor, *requests: bytes) -> Any:
    """Any bytes as requests of any method."""
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    call = kinds[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}"
    )
    return call(iter(requests)) if method.client_streaming else call(requests[0])


async def outcome(call: Any) -> str:
    """The reason of the refusal."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return reason_in(error)
    return "OK"


@pytest.fixture
async def channel(process: ServerProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(process.url.removeprefix("grpc://")) as channel:
        yield channel


GARBAGE = {
    "no protobuf": b"\xff\xfe garbage",
    "cut short": b"\x0a\x7fabc",
    "invalid UTF-8 in the first string": b"\x0a\x02\xc3\x28",
    "a group that never ends": b"\x0b" * 1_000,
    "nested too deep": b"\x12\x7f" * 500,
}


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_bytes_as_request_of_every_method(channel: grpc.aio.Channel, garbage: bytes) -> None:
    for method in METHODS:
        reason = await outcome(raw_call(channel, method, garbage))
        # Of some requests every field is unknown, or bytes.
        also = {"RegisterSchemas": "SCHEMA_INVALID", "GetSchemaSettings": "OK"}.get(method.name, "FIELD_INVALID")
        assert reason in ("FIELD_INVALID", also), method.full_name


@pytest.mark.usefixtures("stubs")
async def test_an_empty_request_of_every_method_is_refused_or_fine(channel: grpc.aio.Channel) -> None:
    reasons = {method.name: await outcome(raw_call(channel, method, b"")) for method in METHODS}
    assert {reasons.pop("ListRuns"), reasons.pop("ListSchemas"), reasons.pop("GetSchemaSettings")} == {"OK"}
    assert {reasons.pop("Subscribe"), reasons.pop("Work")} == {"FRAME_OUT_OF_ORDER"}
    assert set(reasons.values()) == {"FIELD_INVALID"}


@pytest.mark.usefixtures("stubs")
async def test_the_request_of_another_method_is_refused_or_understood_as_ones_own(channel: grpc.aio.Channel) -> None:
    """Field numbers overlap, so some bytes mean something else; nothing may be a fault."""
    requests = [
        pb.SendOneRequest(run_id="r", stream_id="s", records=[new_record("1")]),
        pb.SubscribeRequest(open=pb.SubscribeRequest.Open(run_id="r", stream_id="s", credit=5)),
        run_service_pb2.StartRunRequest(run_id="r", spec=run_pb2.RunSpec(task="t")),
        run_service_pb2.ListRunsRequest(task="t", page_size=-5, page_token="x"),
    ]
    allowed = {"OK", "FIELD_INVALID", "RUN_NOT_FOUND", "RUN_MANAGED", "RUN_ID_REUSED", "FRAME_OUT_OF_ORDER"}
    allowed |= {"SCHEMA_INVALID", "SCHEMA_NOT_FOUND"}
    for method in METHODS:
        for request in requests:
            if method.name not in ("Tail", "WatchRun"):  # These may rightly go on for ever.
                assert await outcome(raw_call(channel, method, request.SerializeToString())) in allowed, method.name


@pytest.mark.usefixtures("stubs")
async def test_a_method_that_does_not_exist(channel: grpc.aio.Channel) -> None:
    for path in ("/midstream.v1.StreamService/Nonsense", "/midstream.v1.Nothing/Send", "/", "/é"):
        call: Any = channel.unary_unary(path)
        assert await outcome(call(b"")) == "UNIMPLEMENTED"


@pytest.mark.usefixtures("stubs")
async def test_a_method_of_another_kind(channel: grpc.aio.Channel) -> None:
    """A client that believes that a streaming method is unary, and the other way round."""
    as_unary: Any = channel.unary_unary("/midstream.v1.StreamService/Subscribe")
    assert await outcome(as_unary(b"")) == "FRAME_OUT_OF_ORDER"
    as_stream: Any = channel.stream_stream("/midstream.v1.RunService/GetRun")
    assert await outcome(as_stream(iter([b""]))) == "FIELD_INVALID"


ABSURD: dict[str, Any] = {
    "negative timeout": ({"timeout": {"seconds": -1}}, "timeout"),
    "10^18 s": ({"timeout": {"seconds": 10**18}}, "timeout"),
    "the largest number": ({"timeout": {"seconds": 2**63 - 1, "nanos": 999_999_999}}, "timeout"),
    "nanos out of range": ({"timeout": {"seconds": 1, "nanos": 2**31 - 1}}, "timeout"),
    "negative nanos": ({"timeout": {"seconds": 1, "nanos": -1}}, "timeout"),
    "the smallest nanos": ({"timeout": {"nanos": -(2**31)}}, "timeout"),
    "negative position": ({"after_seq": -(2**63)}, "after_seq"),
    "position of the future": ({"after_seq": 2**63 - 1}, "after_seq"),
    "negative batch": ({"max_records": -(2**31)}, "max_records"),
    "huge batch": ({"max_records": 2**31 - 1}, "max_records"),
}


@pytest.mark.parametrize(("fields", "field"), ABSURD.values(), ids=ABSURD.keys())
async def test_absurd_numbers_to_receive(stubs: Stubs, fields: dict[str, Any], field: str) -> None:
    run_id = await attach(stubs)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await receive(stubs, run_id, **fields)
    assert reason_in(refused.value) == "FIELD_INVALID"
    assert (refused.value.details() or "").startswith(field)


@pytest.mark.parametrize("epoch", [-1, -(2**63), 7, 2**63 - 1])
async def test_epochs_that_never_were(stubs: Stubs, epoch: int) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1")
    assert await reason_of(receive(stubs, run_id, holder_epoch=epoch)) == "FENCED"
    assert await reason_of(Subscriber(stubs, run_id).open(epoch=epoch)) == "FENCED"
    request = pb.AckRequest(run_id=run_id, stream_id=STREAM, holder_epoch=epoch, through_seq=1)
    assert await reason_of(stubs.streams.Ack(request)) == "FENCED"


@pytest.mark.parametrize("credit", [0, -1, -(2**31), 2**31 - 1])
async def test_absurd_credit(stubs: Stubs, credit: int) -> None:
    run_id = await attach(stubs)
    assert await reason_of(Subscriber(stubs, run_id).open(credit=credit)) == "FIELD_INVALID"
    reader = await Subscriber(stubs, run_id).open()
    await reader.grants(credit)
    assert await reader.is_refused() == "FIELD_INVALID"


@pytest.mark.parametrize(
    ("through_seq", "reason"),
    [(2, "ACK_AHEAD"), (2**63 - 1, "ACK_AHEAD"), (-1, "FIELD_INVALID"), (-(2**63), "FIELD_INVALID")],
)
async def test_acknowledgements_of_what_never_was(stubs: Stubs, through_seq: int, reason: str) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(1)
    await reader.acks(through_seq)
    assert await reader.is_refused() == reason
    assert (await get_run(stubs, run_id)).streams[0].cursor == 0


async def test_second_open_and_frames_without_content(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    opening = pb.SubscribeRequest(open=pb.SubscribeRequest.Open(run_id=run_id, stream_id=STREAM, credit=1))
    for second in (opening, pb.SubscribeRequest()):
        call = stubs.streams.Subscribe(iter([opening, second]))
        assert await outcome(call) == "FRAME_OUT_OF_ORDER"


async def test_a_flood_of_frames_is_taken_in_turn(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, *numbers(1, 10))
    frames = [pb.SubscribeRequest(open=pb.SubscribeRequest.Open(run_id=run_id, stream_id=STREAM, credit=1))]
    frames += [pb.SubscribeRequest(credit=pb.SubscribeRequest.Credit(records=1)) for _ in range(5_000)]
    seqs = [
        record.seq async for response in stubs.streams.Subscribe(iter(frames)) for record in response.records.records
    ]
    assert seqs == list(range(1, len(seqs) + 1))


async def test_a_message_over_the_limit_of_the_connection(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    request = pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=[new_record("x" * 6_000_000)])
    assert await reason_of(stubs.streams.SendOne(request)) == "RESOURCE_EXHAUSTED"
    assert not (await get_run(stubs, run_id)).streams


async def test_metadata_bombs(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    many = new_record("1")
    many.metadata.update({f"name-{number}": "v" for number in range(50_000)})
    request = pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=[many])
    assert await reason_of(stubs.streams.SendOne(request)) == "FIELD_INVALID"
    spec = run_pb2.RunSpec(task="t", metadata=many.metadata)
    assert await reason_of(stubs.runs.StartRun(run_service_pb2.StartRunRequest(spec=spec))) == "FIELD_INVALID"
    headers = [(f"x-header-{number}", "v" * 1_000) for number in range(100)]
    call = stubs.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run_id), metadata=headers)
    assert await reason_of(call) == "RESOURCE_EXHAUSTED"


async def test_more_failures_than_an_acknowledgement_may_have(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1")
    epoch = (await receive(stubs, run_id)).holder_epoch
    request = pb.AckRequest(run_id=run_id, stream_id=STREAM, holder_epoch=epoch, through_seq=1)
    for number in range(1_001):
        request.failures.add(seq=number)
    assert await reason_of(stubs.streams.Ack(request)) == "FIELD_INVALID"


async def test_errors_about_absurd_texts_stay_small(stubs: Stubs) -> None:
    for absurd in ("💥" * 100_000, "\0" * 100_000, "a" * 129, "‮abc", "a/../b"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await get_run(stubs, absurd)
        assert reason_in(refused.value) == "FIELD_INVALID"
        assert len(refused.value.details() or "") < 1_000


@pytest.mark.slow
async def test_a_client_that_opens_10_000_subscriptions_and_reads_none(process: ServerProcess, stubs: Stubs) -> None:
    before = resident_bytes(process.pid)
    run_ids = [await attach(stubs) for _ in range(SUBSCRIPTIONS // 1_000)]
    calls: list[Any] = []

    async def subscribe(number: int) -> None:
        stream_id = f"s{number // len(run_ids)}"
        opening = pb.SubscribeRequest.Open(run_id=run_ids[number % len(run_ids)], stream_id=stream_id, credit=100_000)
        call: Any = stubs.streams.Subscribe()
        await call.write(pb.SubscribeRequest(open=opening))
        calls.append(call)

    await asyncio.gather(*(subscribe(number) for number in range(SUBSCRIPTIONS)))
    # Each is a holder, once its stream is there: then the server has all of them, though nobody has read a frame.
    async with asyncio.timeout(50):
        for run_id in run_ids:
            while len((await get_run(stubs, run_id)).streams) < 1_000:
                pass
    grown = resident_bytes(process.pid) - before
    assert grown < SUBSCRIPTIONS * 64 * 1024, f"{grown / SUBSCRIPTIONS / 1024:.1f} KiB of the server's memory each"
    async with connected(process.url) as others:
        for _ in range(20):
            await serves(others)
    for call in calls:
        call.cancel()


async def test_5_000_calls_in_one_burst(process: ServerProcess, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    record = new_record("1")
    request = pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=[record])
    responses = await asyncio.gather(*(stubs.streams.SendOne(request) for _ in range(BURST)))
    seqs = sorted(response.receipts[0].accepted.seq for response in responses)
    assert seqs == list(range(1, BURST + 1))


CLIENT = """
import asyncio, sys
from midstream.v1 import stream_service_pb2 as pb
from support.calls import Sending, Subscriber, attach, connected, new_record
async def main(url):
    async with connected(url) as stubs:
        run_id = await attach(stubs, "killed")
        reader = await Subscriber(stubs, run_id).open(credit=100_000)
        sending = Sending(stubs, run_id)
        print("ready", flush=True)
        while True:
            await sending.writes([new_record('"' + "x" * 300_000 + '"', key=str(number)) for number in range(3)])
asyncio.run(main(sys.argv[1]))
"""


async def test_a_client_that_is_killed_in_the_middle_of_frames(process: ServerProcess, stubs: Stubs) -> None:
    path = [entry for entry in sys.path if entry]
    program = f"import sys; sys.path[:0] = {path!r}\n{CLIENT}"
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, process.url, stdout=asyncio.subprocess.PIPE
    )
    assert client.stdout is not None
    assert await client.stdout.readline() == b"ready\n"
    first = await receive(stubs, "killed")
    client.kill()
    await client.wait()
    assert [record.seq for record in first.records] == [1]
    reader = await Subscriber(stubs, "killed").open()
    await reader.takes(reader.last_seq)
    await reader.acks(reader.last_seq)
    await reader.hears("acked")
    await finish(stubs, "killed")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 1_000])
async def test_clients_that_connect_and_say_nothing_of_use(process: ServerProcess, stubs: Stubs, said: bytes) -> None:
    host, _, port = process.url.removeprefix("grpc://").rpartition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(said)
        await serves(stubs)


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
