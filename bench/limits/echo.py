"""A bare `grpc.aio` server: it answers with the bytes it got. A process of its own: `python -m bench.limits.echo`."""

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
from grpc import aio

from bench.frames import record_batch

BOTH_WAYS = "/bench.Echo/BothWays"
UNARY = "/bench.Echo/Unary"
DOWNLOAD = "/bench.Echo/Download"

Context = aio.ServicerContext[bytes, bytes]


async def _both_ways(requests: AsyncIterator[bytes], _context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _unary(request: bytes, _context: Context) -> bytes:
    return request


async def _download(request: bytes, _context: Context) -> AsyncIterator[bytes]:
    asked = json.loads(request)
    batch = record_batch(asked["frame_records"], asked["payload_bytes"])
    for _ in range(asked["frames"]):
        yield batch


class EchoClient:
    """Speaks to the bare server, one message in flight on a call that stays open, or call by call."""

    def __init__(self, port: int) -> None:
        self._channel = aio.insecure_channel(f"127.0.0.1:{port}")
        self._call: aio.StreamStreamCall[bytes, bytes] = self._channel.stream_stream(BOTH_WAYS)()
        self.unary: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(UNARY)
        self._download: aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(DOWNLOAD)

    async def ping(self, frame: bytes) -> None:
        """Sends a frame and reads it back."""
        await self._call.write(frame)
        await self._call.read()

    def download(self, *, frames: int, frame_records: int, payload_bytes: int) -> aio.UnaryStreamCall[bytes, bytes]:
        """Streams that many serialised batches of records."""
        asked = {"frames": frames, "frame_records": frame_records, "payload_bytes": payload_bytes}
        return self._download(json.dumps(asked).encode())

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close()


async def _serve() -> None:
    server = aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "BothWays": grpc.stream_stream_rpc_method_handler(_both_ways),
        "Unary": grpc.unary_unary_rpc_method_handler(_unary),
        "Download": grpc.unary_stream_rpc_method_handler(_download),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"event": "echo_started", "port": port}), flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
