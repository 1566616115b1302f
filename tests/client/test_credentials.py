"""Every call carries its credentials; an expired token is renewed; what no waiting helps against surfaces at once."""

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as PackedAny
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

import midstream
from midstream import MidstreamError
from midstream.attached.failures import UnrecordedFailures
from midstream.attached.subscription import Subscription
from midstream.attached.tasks import Tasks
from midstream.client import Client
from midstream.receiving import StreamBuffer
from midstream.v1 import run_service_pb2, stream_service_pb2, token_service_pb2, worker_service_pb2
from midstream.v1.worker_service_pb2 import WorkRequest
from midstream.worker.link import Link

KEY = "midstream_abcdefghijkl_" + "S" * 43
DESCRIPTORS = [
    service
    for module in (stream_service_pb2, run_service_pb2, token_service_pb2, worker_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


def token(number: int, *, expires_in_s: float = 3_600) -> str:
    """Not signed: the client cannot tell."""
    claims = json.dumps({"jti": str(number), "exp": time.time() + expires_in_s}).encode()
    return f"eyJ9.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


class Gate:
    """A server that refuses every call: with what `admits` says of its authorization, else FIELD_INVALID."""

    def __init__(self) -> None:
        self.admits: Callable[[str], str] = lambda authorization: ""
        self.heard: Counter[str] = Counter()
        self.authorizations: list[str] = []
        self.url = ""

    async def answer(self, method: str, context: Any) -> None:
        authorization = dict(context.invocation_metadata()).get("authorization", "")
        self.heard[method] += 1
        self.authorizations.append(authorization)
        reason = self.admits(authorization) or "FIELD_INVALID"
        code = grpc.StatusCode.INVALID_ARGUMENT if reason == "FIELD_INVALID" else grpc.StatusCode.UNAUTHENTICATED
        info = PackedAny()
        info.Pack(ErrorInfo(reason=reason, domain="midstream.v1"))
        status = Status(code=code_pb2.Code.Value(code.name), message="no", details=[info])
        await context.abort(code, "no", (("grpc-status-details-bin", status.SerializeToString()),))

    def handler(self, path: str, method: Any) -> Any:
        async def unary(request: bytes, context: Any) -> bytes:
            await self.answer(path, context)
            return b""

        async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
            await self.answer(path, context)
            yield b""

        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_stream_rpc_method_handler(stream) if method.server_streaming else (
            grpc.unary_unary_rpc_method_handler(unary)
        )  # fmt: skip


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    server = grpc.aio.server()
    for service in DESCRIPTORS:
        handlers = {method.name: gate.handler(method.name, method) for method in service.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    gate.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield gate
    await server.stop(None)


async def call_everything(client: Client) -> None:
    """Each call of the client that reaches the server, once. The gate refuses them all."""

    async def each(items: Any) -> None:
        async for _ in items:
            pass

    calls = [
        client.start_run("t"),
        client.get_run("r"),
        client.cancel_run("r"),
        each(client.list_runs()),
        each(client.list_entries("r")),
        each(client.watch_run("r")),
        client.mint_token([midstream.can_read("r")]),
        client.revoke_token("id"),
        client.send("r", "s", 1),
        client.peek("r", "s"),
        each(client.tail("r")),
        each(client.list_records("r")),
        client.attach(task="t").__aenter__(),
        asyncio.to_thread(midstream.send, "r", "s", 1, url=client.url, api_key=KEY),
    ]
    for call in calls:
        with pytest.raises(MidstreamError, match="no") as refused:
            await call
        assert refused.value.reason == "FIELD_INVALID"
    await subscribe(client)
    with pytest.raises(MidstreamError, match="no"):
        await Link(client._connection, _Nobody()).run()


class _Nobody:
    def open_frame(self) -> WorkRequest:
        return WorkRequest()

    def received(self, frame: Any, data: bytes) -> None: ...
    def broken(self, error: MidstreamError, retry_us: int) -> None: ...


async def subscribe(client: Client) -> None:
    broken = asyncio.get_running_loop().create_future()
    tasks = Tasks()
    subscription = Subscription(
        client._connection,
        "r",
        "s",
        StreamBuffer(wake=lambda: None),
        UnrecordedFailures("r", "s"),
        tasks=tasks,
        broken=broken.set_result,
    )
    subscription.start()
    assert (await broken).reason == "FIELD_INVALID"
    await tasks.cancelled()


async def test_every_call_of_the_client_carries_its_key(gate: Gate) -> None:
    async with midstream.connect(gate.url, api_key=KEY) as client:
        await call_everything(client)
    assert set(gate.authorizations) == {f"Bearer {KEY}"}
    # What remains is made in the same way, and is not for this test to provoke.
    assert {method.name for service in DESCRIPTORS for method in service.methods} - gate.heard.keys() <= {
        *("Ack", "Receive", "FinishRun"),
        *("Follow", "AppendOutput"),
    }


async def test_without_credentials_nothing_is_said(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIDSTREAM_API_KEY", raising=False)
    async with midstream.connect(gate.url) as client:
        with pytest.raises(MidstreamError):
            await client.get_run("r")
    assert gate.authorizations == [""]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_callback_is_asked_once_and_again_when_its_token_has_expired(gate: Gate, is_async: bool) -> None:
    given: list[str] = []

    def ask() -> str:
        given.append(token(len(given)))
        return given[-1]

    async def ask_later() -> str:
        await asyncio.sleep(0)
        return ask()

    expired: set[str] = set()
    gate.admits = lambda authorization: "TOKEN_EXPIRED" if authorization.removeprefix("Bearer ") in expired else ""
    async with midstream.connect(gate.url, access_token=ask_later if is_async else ask) as client:
        await asyncio.gather(*(_is_admitted(client.get_run("r")) for _ in range(5)))
        assert len(given) == 1
        client._connection.bearer._asked_s -= 60  # it was good for a minute
        expired.add(given[0])
        await asyncio.gather(*(_is_admitted(client.get_run("r")) for _ in range(5)))
        assert len(given) == 2
        client._connection.bearer._asked_s -= 60
        expired.add(given[1])
        await _is_admitted(client.send("r", "s", 1))
        assert len(given) == 3


async def _is_admitted(call: Any) -> None:
    with pytest.raises(MidstreamError) as refused:
        await call
    assert refused.value.reason == "FIELD_INVALID"


async def test_a_token_that_soon_expires_is_not_used_any_more(gate: Gate) -> None:
    given: list[str] = []

    def ask() -> str:
        given.append(token(len(given), expires_in_s=20 if not given else 3_600))
        return given[-1]

    async with midstream.connect(gate.url, access_token=ask) as client:
        for _ in range(3):
            await _is_admitted(client.get_run("r"))
    assert gate.authorizations == [f"Bearer {given[0]}", f"Bearer {given[1]}", f"Bearer {given[1]}"]


async def test_a_callback_that_gives_expired_tokens_is_not_asked_for_ever(gate: Gate) -> None:
    gate.admits = lambda authorization: "TOKEN_EXPIRED"
    given: list[str] = []

    def ask() -> str:
        given.append(token(len(given)))
        return given[-1]

    async with midstream.connect(gate.url, access_token=ask) as client:
        for call in (client.get_run("r"), client.send("r", "s", 1), anext(client.tail("r"))):
            with pytest.raises(midstream.Unauthenticated) as refused:
                await call
            assert refused.value.reason == "TOKEN_EXPIRED"
    assert len(given) <= 3


@pytest.mark.parametrize("reason", ["CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED"])
async def test_what_only_other_credentials_help_against_surfaces_at_once(gate: Gate, reason: str) -> None:
    gate.admits = lambda authorization: reason
    async with midstream.connect(gate.url, access_token=token(1)) as client:
        for call in (
            client.get_run("r"),
            client.send("r", "s", 1),
            anext(client.tail("r")),
            anext(client.watch_run("r")),
        ):
            with pytest.raises(midstream.Unauthenticated) as refused:
                await call
            assert refused.value.reason == reason
    assert sum(gate.heard.values()) == 4


@pytest.mark.parametrize("answer", [RuntimeError("no session"), 7, "two words", ""], ids=repr)
async def test_a_callback_that_fails_is_an_error_of_the_call(gate: Gate, answer: Any) -> None:
    def ask() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with midstream.connect(gate.url, access_token=ask) as client:
        for call in (client.get_run("r"), client.send("r", "s", 1), anext(client.tail("r"))):
            with pytest.raises(midstream.Unauthenticated, match="the access_token callback failed") as refused:
                await call
            assert "two words" not in str(refused.value)
    assert gate.authorizations == []
