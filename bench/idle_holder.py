"""Holds idle subscriptions, one for each run named in a file: `python -m bench.idle_holder TARGET FILE`.

A process of its own, as the subscribers of a real system are, so that its memory and collections touch no figure.
"""

import asyncio
import json
import sys
from pathlib import Path

from grpc import aio

from bench.frames import STREAM
from midstream.v1 import stream_service_pb2, stream_service_pb2_grpc

SUBSCRIPTIONS_PER_CONNECTION = 100
CREDIT = 1_000

Subscription = aio.StreamStreamCall[stream_service_pb2.SubscribeRequest, stream_service_pb2.SubscribeResponse]


async def _open(stub: "stream_service_pb2_grpc.StreamServiceAsyncStub", run_id: str) -> Subscription:
    call: Subscription = stub.Subscribe()
    opening = stream_service_pb2.SubscribeRequest.Open(run_id=run_id, stream_id=STREAM, credit=CREDIT)
    await call.write(stream_service_pb2.SubscribeRequest(open=opening))
    answer = await call.read()
    if not isinstance(answer, stream_service_pb2.SubscribeResponse) or answer.WhichOneof("frame") != "opened":
        raise RuntimeError(f"subscription of {run_id} did not open: {answer}")
    return call


async def _hold(target: str, run_ids: list[str]) -> None:
    held: list[Subscription] = []
    for first in range(0, len(run_ids), SUBSCRIPTIONS_PER_CONNECTION):
        # Channels share a connection unless they are told not to.
        channel = aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        stub = stream_service_pb2_grpc.StreamServiceStub(channel)
        some = run_ids[first : first + SUBSCRIPTIONS_PER_CONNECTION]
        held += await asyncio.gather(*(_open(stub, run_id) for run_id in some))
    print(json.dumps({"event": "holding", "subscriptions": len(held)}), flush=True)
    await asyncio.gather(*(call.read() for call in held))


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1], Path(sys.argv[2]).read_text().split()))
