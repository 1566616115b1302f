"""The same promises, asked of the Python client: it reconnects by itself, with no gap and no repeat."""

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import midstream
from midstream import input_stream
from midstream.v1.record_pb2 import Payload
from support.chaos.history import Accepted, Handled, History, RunSeen, SeenRecord, Sent, Tailed
from support.chaos.load import Faults
from support.chaos.wire import payload_text, surprised

TASK = "chaos"
SENDERS = ("anna", "ben")
MAX_RECORDS = 20
REPEAT_CHANCE = 0.05

words = input_stream("words", bytes)


class ClientLoad:
    """For each way to receive an attached run, with senders and a tail: everything through `midstream`."""

    def __init__(self, address: str, history: History, seed: str) -> None:
        self._url = f"grpc://{address}"
        self._history = history
        self._seed = seed
        self._views = {
            "run-on": self._receive_with_on,
            "run-for": self._receive_with_for,
            "run-once": self._receive_with_once,
        }
        self._sending = True
        self._all_sent = False
        self._last_seq: Counter[str] = Counter()
        self._handled: Counter[str] = Counter()
        self._looking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def run_ids(self) -> Sequence[str]:
        return tuple(self._views)

    async def run(self, faults: Faults) -> None:
        try:
            async with midstream.connect(self._url, retry_timeout=None) as client, asyncio.TaskGroup() as runs:
                for run_id in self.run_ids:
                    await self._create(client, run_id)
                    runs.create_task(self._attached(client, run_id))
                async with asyncio.TaskGroup() as senders:
                    for run_id, name in itertools.product(self.run_ids, SENDERS):
                        senders.create_task(self._send(client, run_id, name))
                    await faults()
                    self._sending = False
                self._all_sent = True
                for run_id in self.run_ids:
                    await self._see(client, run_id)
        except* midstream.MidstreamError as group:
            raise surprised(self._history, "the client", "some run", group.exceptions) from None

    async def close(self) -> None:
        """The client was closed with its block."""

    async def _create(self, client: midstream.Client, run_id: str) -> None:
        """Senders need the run to exist."""
        async with client.attach(run_id, task=TASK) as run:
            self._history.add(RunSeen(run_id, run.info.state))
            run.detach()

    async def _see(self, client: midstream.Client, run_id: str) -> None:
        """One at a time: of two looks at once, the one that is answered later may be the one that began earlier."""
        async with self._looking[run_id]:
            self._history.add(RunSeen(run_id, (await client.get_run(run_id)).state))

    async def _attached(self, client: midstream.Client, run_id: str) -> None:
        """One process that is a run, until it has handled everything that was accepted."""
        async with asyncio.TaskGroup() as group:
            async with client.attach(run_id, task=TASK):
                group.create_task(self._tail(client, run_id))
                receiving = group.create_task(self._views[run_id](run_id))
                await self._history.until(lambda: self._all_sent and self._handled[run_id] >= self._last_seq[run_id])
                receiving.cancel()
            await self._see(client, run_id)

    async def _receive_with_on(self, run_id: str) -> None:
        async def handle(word: bytes) -> None:
            await asyncio.sleep(0)
            self._handle(run_id, word)

        words.on(handle)

    async def _receive_with_for(self, run_id: str) -> None:
        async for word in words:
            self._handle(run_id, word)

    async def _receive_with_once(self, run_id: str) -> None:
        while True:
            result = await words.once(timeout="50ms")
            if result.ok:
                self._handle(run_id, result.unwrap())

    def _handle(self, run_id: str, word: bytes) -> None:
        self._handled[run_id] += 1
        self._history.add(Handled(run_id, words.id, payload_text(Payload(raw=word))))

    async def _tail(self, client: midstream.Client, run_id: str) -> None:
        async for record in client.tail(run_id):
            place = (record.run_id, record.stream_id, record.seq, record.offset)
            seen = SeenRecord(*place, record.key, payload_text(record.payload), _microseconds(record.accept_time))
            self._history.add(Tailed("tail", seen))

    async def _send(self, client: midstream.Client, run_id: str, name: str) -> None:
        randomness = random.Random(f"{self._seed}/{run_id}/{name}")
        sent: list[tuple[str, bytes]] = []
        while self._sending:
            batch: list[tuple[str, bytes]] = []
            for _ in range(randomness.randint(1, MAX_RECORDS)):
                if sent and randomness.random() < REPEAT_CHANCE:
                    batch.append(randomness.choice(sent))
                else:
                    key = f"{name}-{len(sent)}"
                    sent.append((key, key.encode() + randomness.randbytes(randomness.randint(0, 150))))
                    batch.append(sent[-1])
            for key, word in batch:
                payload = payload_text(Payload(raw=word))
                self._history.add(Sent(name, run_id, words.id, key, payload, retries_by_itself=True))
            receipts = await asyncio.gather(*(client.send(run_id, words, word, key=key) for key, word in batch))
            for (key, _), receipt in zip(batch, receipts, strict=True):
                time_us = _microseconds(receipt.accept_time)
                self._last_seq[run_id] = max(self._last_seq[run_id], receipt.seq)
                self._history.add(
                    Accepted(run_id, words.id, key, receipt.seq, receipt.offset, time_us, receipt.deduplicated)
                )


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
