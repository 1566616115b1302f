"""Stopping: open streams are told, new calls are refused, and it takes no longer than that. Starting: what can fail."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from midstream_server.domain.errors import server_draining
from midstream_server.server import Server, Servicers, StartError
from midstream_server.settings import Settings
from support.server_process import ServerProcess

METHOD = "/midstream.v1.Toy/Follow"


class FollowServer(Server):
    """A server with one more method: a stream that ends with the drain, or, with `deaf`, never."""

    deaf = False

    async def _add_services(self, grpc_server: grpc.aio.Server, servicers: Servicers) -> None:
        await super()._add_services(grpc_server, servicers)
        method: Any = grpc.unary_stream_rpc_method_handler(
            self._follow,
            Empty.FromString,
            Empty.SerializeToString,
        )
        grpc_server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("midstream.v1.Toy", {"Follow": method}),)
        )

    async def _follow(self, request: Empty, context: Any) -> AsyncIterator[Empty]:
        yield Empty()
        await (asyncio.Event() if self.deaf else self.drain).wait()
        raise server_draining()


def connected(server: Server) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.url.removeprefix("grpc://"))


async def follow(channel: grpc.aio.Channel) -> Any:
    """An open stream, with its first message read."""
    follows: Any = channel.unary_stream(METHOD)
    call = follows(b"")
    assert await call.read() == b""
    return call


async def test_open_streams_end_with_server_draining(settings: Settings) -> None:
    async with FollowServer(settings) as server, connected(server) as channel:
        calls = [await follow(channel) for _ in range(20)]
        await server.stop()
        assert {await call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        assert b"SERVER_DRAINING" in dict(await calls[0].trailing_metadata())["grpc-status-details-bin"]


async def test_a_stream_that_does_not_end_is_cut_off_after_the_grace(settings: Settings) -> None:
    settings = settings.model_copy(update={"drain_seconds": 0.05})
    async with FollowServer(settings) as server, connected(server) as channel:
        server.deaf = True
        call = await follow(channel)
        await server.stop()
        assert await call.code() is not grpc.StatusCode.OK


async def test_stop_twice_and_at_once_is_one_stop(settings: Settings) -> None:
    server = Server(settings)
    await server.start()
    await asyncio.gather(server.stop(), server.stop())
    await server.stop()


async def test_two_servers_share_a_process(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"database": tmp_path / "other.db", "metrics_listen": "127.0.0.1:0"})
    async with Server(settings) as first, Server(other) as second:
        assert first.port != second.port
        assert first.metrics.registry is not second.metrics.registry


async def test_a_port_in_use_is_a_clear_error(settings: Settings, tmp_path: Path) -> None:
    async with Server(settings) as first:
        taken = f"127.0.0.1:{first.port}"
        second = Server(settings.model_copy(update={"listen": taken, "database": tmp_path / "other.db"}))
        with pytest.raises(StartError, match=f"cannot listen on {taken}.*--listen"):
            await second.start()


async def test_a_database_in_use_is_a_clear_error(server: Server) -> None:
    with pytest.raises(StartError, match="is in use by another midstream-server"):
        await Server(server.settings).start()


async def test_a_failed_start_leaves_nothing_open(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartError):
            await Server(settings.model_copy(update={"metrics_listen": taken})).start()
    async with Server(settings):
        pass


async def test_a_metrics_port_in_use_is_a_clear_error(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartError, match=f"cannot listen on {taken}.*--metrics-listen"):
            await Server(settings.model_copy(update={"metrics_listen": taken})).start()


def test_sigterm_drains_and_exits_with_0(server_process: ServerProcess) -> None:
    assert server_process.terminate() == 0
    assert [event["event"] for event in server_process.log][-2:] == ["server_draining", "server_stopped"]
    assert server_process.stderr_path.read_text() == ""


def test_sigint_drains_too(server_process: ServerProcess) -> None:
    server_process.send_signal(signal.SIGINT)
    assert server_process.wait() == 0


def test_a_restart_keeps_port_and_database(server_process: ServerProcess) -> None:
    url, pid = server_process.url, server_process.pid
    assert server_process.kill9() == -signal.SIGKILL
    server_process.start()
    assert server_process.url == url
    assert server_process.pid != pid


def test_a_port_in_use_exits_with_1_without_a_traceback(server_process: ServerProcess, tmp_path: Path) -> None:
    taken = server_process.url.removeprefix("grpc://")
    command = [sys.executable, "-m", "midstream_server", "--listen", taken, "--metrics-listen", "", "--web-listen", ""]
    ended = subprocess.run(
        [*command, "--database", str(tmp_path / "other.db")], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert f"cannot listen on {taken}" in ended.stderr
    assert "Traceback" not in ended.stderr
