"""Managed runs in both languages, steered by senders in both, one run after the other until the attack ends."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import midstream
from midstream import Client, Run, RunState
from midstream.v1.record_pb2 import Payload
from support.chaos.fleet import TASKS
from support.chaos.history import Accepted, History, RunSeen, Sent, Started, Stuck
from support.chaos.managed_rules import HEARD, NOTED, STOP
from support.chaos.wire import payload_text, surprised

Result = TypeVar("Result")

REPEAT_CHANCE = 0.1
HESITATION_SECONDS = 0.15
SUSPENDED_CHANCE = 0.25
NOTE_CHANCE = 0.2
ROUND_AND_ROUND = 6
"""A run whose state changes is given so many times the patience: on a busy machine workers lose their leases."""


class Sending(Protocol):
    """A client of some language. `send` returns when the record is accepted."""

    async def send(self, run_id: str, stream_id: str, value: str, key: str) -> Accepted: ...


class PythonSending:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, run_id: str, stream_id: str, value: str, key: str) -> Accepted:
        receipt = await self._client.send(run_id, stream_id, value, key=key)
        time_us = (receipt.accept_time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return Accepted(run_id, stream_id, key, receipt.seq, receipt.offset, time_us, receipt.deduplicated)


class MixedLoad:
    """For each place a leader, who starts a run, talks to it, stops it, and begins again with the next one."""

    def __init__(self, history: History, seed: str, *, runs_of: Sequence[str], words: int, patience: float) -> None:
        """`runs_of` has the language of each place; `words` is how many a run hears, at most.

        `patience`: after so many seconds in which nothing ails, what has not come does not come any more.
        """
        self._history = history
        self._seed = seed
        self._runs_of = runs_of
        self._words = words
        self._patience = patience
        self._over = False
        self.run_ids: list[str] = []
        self.suspensions = 0

    def end(self) -> None:
        """Each leader stops its run, unless it is the first one, and begins no other."""
        self._over = True

    async def run(self, client: Client, senders: Sequence[Sending], calm: asyncio.Event) -> None:
        """Returns when all runs have ended, or one of them is stuck."""
        async with asyncio.TaskGroup() as group:
            for place, language in enumerate(self._runs_of):
                leader = _Leader(self, self._history, client, senders, calm, f"{self._seed}/{place}")
                group.create_task(leader.lead(f"{language}-{place}", TASKS[language]))

    async def until_ended(self, client: Client, run_id: str, calm: asyncio.Event) -> None:
        """Waits for the end of a run that others lead."""
        with suppress(_Stuck):
            await _Leader(self, self._history, client, (), calm, "").until(run_id, "its end", _has_ended)

    @property
    def is_over(self) -> bool:
        return self._over

    @property
    def words(self) -> int:
        return self._words

    @property
    def patience(self) -> float:
        return self._patience


class _Stuck(Exception):
    pass


class _Leader:
    def __init__(
        self,
        load: MixedLoad,
        history: History,
        client: Client,
        senders: Sequence[Sending],
        calm: asyncio.Event,
        seed: str,
    ) -> None:
        self._load = load
        self._history = history
        self._client = client
        self._senders = senders
        self._calm = calm
        self._random = random.Random(seed)
        self._state = "not started"
        self._heard_at = 0.0

    async def lead(self, name: str, task: str) -> None:
        for number in itertools.count():
            if number > 0 and self._load.is_over:
                return
            try:
                await self._lead_one(f"run-{name}-{number}", task, all_words=number == 0)
            except _Stuck:
                return

    async def _lead_one(self, run_id: str, task: str, *, all_words: bool) -> None:
        await self._patiently(run_id, "StartRun", self._client.start_run(task, run_id=run_id))
        self._load.run_ids.append(run_id)
        self._history.add(Started(run_id, "none", ()))
        sent: list[tuple[str, str, str]] = []
        last = self._random.randint(self._load.words // 2, self._load.words)
        while len(sent) < last and (all_words or not self._load.is_over):
            await self._talk(run_id, sent)
            if self._random.random() < SUSPENDED_CHANCE:
                await self.until(run_id, "its suspension", _is_at_rest)
                self._load.suspensions += 1
        # The run is about to be suspended: a word that nobody hears then is the last one, and nothing makes up for it.
        await asyncio.sleep(self._random.random() * HESITATION_SECONDS)
        await self._send(run_id, HEARD, STOP, "stop")
        await self.until(run_id, "its end", _has_ended)

    async def _talk(self, run_id: str, sent: list[tuple[str, str, str]]) -> None:
        """One record, or some at once; now and then one that was accepted before, by whichever sender."""
        if sent and self._random.random() < REPEAT_CHANCE:
            await self._send(run_id, *self._random.choice(sent))
            return
        batch: list[tuple[str, str, str]] = []
        for _ in range(self._random.choice((1, 1, 1, 3))):
            number = len(sent) + len(batch)
            stream_id = NOTED if self._random.random() < NOTE_CHANCE else HEARD
            batch.append((stream_id, f"{run_id} {number}", f"{number:04}"))
        sender = self._random.choice(self._senders)
        receipts = [asyncio.create_task(self._send(run_id, *each, sender=sender)) for each in batch]
        for failure in await asyncio.gather(*receipts, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure
        sent += batch

    async def _send(self, run_id: str, stream_id: str, value: str, key: str, *, sender: Sending | None = None) -> None:
        payload = payload_text(Payload(json=json.dumps(value)))
        self._history.add(Sent("leader", run_id, stream_id, key, payload, retries_by_itself=True))
        chosen = sender or self._random.choice(self._senders)
        sending = chosen.send(run_id, stream_id, value, key)
        self._history.add(await self._patiently(run_id, f"the receipt of {stream_id} {key}", sending))

    async def until(self, run_id: str, what: str, reached: Callable[[Run], bool]) -> None:
        async def watch() -> None:
            async for run in self._client.watch_run(run_id):
                self._state = run.state.name
                self._heard_at = time.monotonic()
                self._history.add(RunSeen(run_id, self._state))
                if reached(run) or run.state is RunState.BLOCKED or run.state.is_final:
                    return

        await self._patiently(run_id, what, watch())

    async def _patiently(self, run_id: str, what: str, waiting: Coroutine[Any, Any, Result]) -> Result:
        """Raises _Stuck where it does not come though nothing ails, and Surprised where the answer must not be."""
        working = asyncio.create_task(waiting)
        giving_up = asyncio.create_task(self._lose_patience())
        try:
            await asyncio.wait({working, giving_up}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        except midstream.MidstreamError as error:
            raise surprised(self._history, f"who waits for {what}", run_id, error) from None
        finally:
            working.cancel()
            giving_up.cancel()
        self._history.add(Stuck(run_id, self._state, what))
        raise _Stuck

    async def _lose_patience(self) -> None:
        """Returns when nothing has happened to the run for too long, or it goes round and round."""
        await self._calm.wait()
        began = self._heard_at = time.monotonic()
        longest = began + ROUND_AND_ROUND * self._load.patience
        while (now := time.monotonic()) < min(self._heard_at + self._load.patience, longest):  # noqa: ASYNC110
            await asyncio.sleep(min(self._heard_at + self._load.patience, longest) - now)


def _is_at_rest(run: Run) -> bool:
    """Suspended, with everything read that it listens to."""
    return run.state is RunState.SUSPENDED and all(stream.unread_count == 0 for stream in run.streams)


def _has_ended(run: Run) -> bool:
    return run.state.is_final
