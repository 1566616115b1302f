"""API keys and access tokens for tests, and calls that carry them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any

import grpc

from midstream.v1 import access_token_pb2 as pb
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from midstream.v1.token_service_pb2 import MintTokenRequest
from midstream.v1.token_service_pb2_grpc import TokenServiceStub
from midstream.v1.worker_service_pb2_grpc import WorkerServiceStub
from midstream_server.domain import api_key
from midstream_server.server import Server
from midstream_server.store.sqlite.credentials import keys
from midstream_server.store.sqlite.database import open_writer
from support.calls import reason_in
from support.stubs import Stubs

ACTIONS = {"send": pb.Scope.ACTION_SEND, "read": pb.Scope.ACTION_READ, "cancel": pb.Scope.ACTION_CANCEL}


async def new_key(server: Server, *, namespace: str = "default", name: str = "backend") -> str:
    """The text of a new API key, put beside the running server as the command line does, and noticed by it."""
    text = api_key.new_text()
    with closing(open_writer(server.settings.database)) as connection:
        keys.add_key(
            connection.execute, api_key.kept(text, namespace=namespace, name=name, now_us=server.clock.now_us())
        )
    await server.gate.look()
    return text


def revoke_key(server: Server, text: str) -> None:
    """The server will notice it by itself."""
    key_id = api_key.key_id_of(text)
    assert key_id is not None
    with closing(open_writer(server.settings.database)) as connection:
        assert keys.revoke_key(connection.execute, key_id, now_us=server.clock.now_us())


class _With:
    """A stub whose calls carry metadata."""

    def __init__(self, stub: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(self._stub, name), metadata=self._metadata)


def _with(stub: Any, metadata: tuple[tuple[str, str], ...]) -> Any:
    return _With(stub, metadata)


class As:
    """Every service, as one caller has it. `stubs` are for `support.calls`."""

    def __init__(self, channel: grpc.aio.Channel, authorization: str | None) -> None:
        metadata = () if authorization is None else (("authorization", authorization),)
        self.streams: Any = _with(StreamServiceStub(channel), metadata)
        self.runs: Any = _with(RunServiceStub(channel), metadata)
        self.tokens: Any = _with(TokenServiceStub(channel), metadata)
        self.workers: Any = _with(WorkerServiceStub(channel), metadata)
        self.stubs = Stubs(streams=self.streams, runs=self.runs)


@asynccontextmanager
async def calling(
    server: Server | str, secret: str | None = None, *, authorization: str | None = None
) -> AsyncIterator[As]:
    """Calls with an API key or a token; without, with no credentials; or with whatever header."""
    if secret is not None:
        authorization = f"Bearer {secret}"
    options = [("grpc.use_local_subchannel_pool", 1)]
    url = server if isinstance(server, str) else server.url
    async with grpc.aio.insecure_channel(url.removeprefix("grpc://"), options=options) as channel:
        yield As(channel, authorization)


def spec_of(*scopes: str, subject: str = "user-17", ttl_seconds: int = 3_600, max_uses: int = 0) -> pb.AccessTokenSpec:
    """Each scope as `send:run_x/stream`."""
    spec = pb.AccessTokenSpec(subject=subject, max_uses=max_uses)
    spec.ttl.seconds = ttl_seconds
    for scope in scopes:
        action, _, target = scope.partition(":")
        run_id, _, stream_id = target.partition("/")
        spec.scopes.add(action=ACTIONS[action], run_id=run_id, stream_id=stream_id)
    return spec


async def mint(caller: As, *scopes: str, **options: Any) -> pb.AccessToken:
    response = await caller.tokens.MintToken(MintTokenRequest(spec=spec_of(*scopes, **options)))
    token: pb.AccessToken = response.access_token
    return token


async def ends_with(call: Any) -> str:
    """Why a streaming call ended, after whatever it still gave."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return reason_in(error)
    raise AssertionError("the call ended with OK")
