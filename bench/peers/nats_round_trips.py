"""JetStream, one message in flight: `python -m bench.peers.nats_round_trips URL PAYLOAD_BYTES`, with the peers' Python.

For each count on its standard input it publishes so many messages, each when the one before was handled, and prints
the milliseconds from calling `publish` to the first line of the subscriber's callback, as a list in JSON.
"""

import asyncio
import json
import os
import sys
import time
import uuid

import nats
from nats.aio.msg import Msg
from nats.js.api import StorageType, StreamConfig

SUBJECT = "runs.one.events"


class RoundTrips:
    """Publisher and subscriber share one process and one connection, as the sender and the attached run do."""

    def __init__(self, stream: nats.js.JetStreamContext, payload: bytes) -> None:
        self._stream = stream
        self._payload = payload
        self._entered = 0
        self._heard = asyncio.Event()

    async def handle(self, _message: Msg) -> None:
        """The client acknowledges the message when this has returned."""
        self._entered = time.perf_counter_ns()
        self._heard.set()

    async def measure(self, count: int) -> list[float]:
        times: list[float] = []
        for _ in range(count):
            self._heard.clear()
            began = time.perf_counter_ns()
            await self._stream.publish(SUBJECT, self._payload, headers={"Nats-Msg-Id": uuid.uuid4().hex})
            await self._heard.wait()
            times.append((self._entered - began) / 1e6)
        return times


async def _main(url: str, payload_bytes: int) -> None:
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(StreamConfig(name="runs", subjects=["runs.>"], storage=StorageType.FILE))
    round_trips = RoundTrips(stream, os.urandom(payload_bytes))
    await stream.subscribe(SUBJECT, durable="handler", cb=round_trips.handle)
    while count := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await round_trips.measure(int(count))), flush=True)
    await client.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
