"""Holds idle pages, one for each run named in a file: `python -m bench.idle_pages WAY URL FILE`.

WAY is `tail` (Tail by Connect) or `socket` (Follow over a WebSocket: records and state of the run). A process of
its own, as browsers are.
"""

import asyncio
import base64
import json
import os
import struct
import sys
from pathlib import Path
from urllib.parse import urlsplit

from bench.web_calls import request_head
from midstream.v1 import stream_service_pb2 as pb

TAIL = "/midstream.v1.StreamService/Tail"
FOLLOW = "/midstream.v1.StreamService/Follow"
OPENED_AT_ONCE = 50

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _tail(host: str, run_id: str) -> Connection:
    reader, writer = await _connect(host)
    request = pb.TailRequest(run_id=run_id).SerializeToString()
    body = struct.pack(">BI", 0, len(request)) + request
    writer.write(request_head(host, TAIL, "application/connect+proto", len(body)) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"no Tail: {head!r}")
    return reader, writer


async def _socket(host: str, run_id: str) -> Connection:
    reader, writer = await _connect(host)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {FOLLOW} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Origin: http://{host}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(f"no WebSocket: {head!r}")
    target = pb.FollowRequest.Target
    request = pb.FollowRequest(
        targets=[
            target(ref=1, run_id=run_id, records=pb.FollowRequest.Records()),
            target(ref=2, run_id=run_id, state=pb.FollowRequest.State()),
        ]
    ).SerializeToString()
    # A client's messages are masked; a mask of zeros leaves the bytes as they are.
    writer.write(b"\x82" + bytes((0x80 | len(request),)) + bytes(4) + request if len(request) < 126 else _long(request))
    await reader.readexactly(2)
    return reader, writer


def _long(request: bytes) -> bytes:
    return b"\x82\xfe" + struct.pack(">H", len(request)) + bytes(4) + request


async def _connect(host: str) -> Connection:
    name, _, port = host.partition(":")
    return await asyncio.open_connection(name, int(port))


async def _hold(way: str, url: str, run_ids: list[str]) -> None:
    host = urlsplit(url).netloc
    open_one = {"tail": _tail, "socket": _socket}[way]
    held: list[Connection] = []
    for first in range(0, len(run_ids), OPENED_AT_ONCE):
        held += await asyncio.gather(*(open_one(host, run_id) for run_id in run_ids[first : first + OPENED_AT_ONCE]))
    print(json.dumps({"event": "holding", "pages": len(held)}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text().split()))
