"""A starter: it starts managed runs with their first records, and cancels some of them."""

import random

from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.run_pb2 import RunSpec
from midstream.v1.run_service_pb2 import CancelRunRequest, FirstRecord, StartRunRequest
from support.chaos.history import History, RunSeen, Sent, Started
from support.chaos.wire import Refusal, Wire, call_until_answered, payload_text, run_state, surprised

STREAM = "first"
CANCEL_CHANCE = 0.5


class Starter:
    """Starts one run after the other until told to stop. `started`: their ids."""

    def __init__(self, wire: Wire, history: History, seed: str) -> None:
        self.started: list[str] = []
        self._wire = wire
        self._history = history
        self._random = random.Random(seed)
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    async def run(self) -> None:
        while not self._stopped:
            run_id = f"started-{len(self.started) + 1}"
            try:
                await self._start(run_id)
                if self._random.random() < CANCEL_CHANCE:
                    cancel = CancelRunRequest(run_id=run_id)
                    cancelled = await call_until_answered(self._wire.runs.CancelRun, cancel)
                    self._history.add(RunSeen(run_id, run_state(cancelled.run)))
            except Refusal as refusal:
                raise surprised(self._history, "starter", run_id, refusal) from None

    async def _start(self, run_id: str) -> None:
        """Every call has the same content, so that repeating it finds the run."""
        keys = [f"first-{number}" for number in range(self._random.randint(0, 3))]
        request = StartRunRequest(run_id=run_id, spec=RunSpec(task="chaos"))
        for key in keys:
            payload = Payload(raw=self._random.randbytes(20))
            request.records.append(
                FirstRecord(stream_id=STREAM, record=NewRecord(idempotency_key=key, payload=payload))
            )
            self._history.add(Sent("starter", run_id, STREAM, key, payload_text(payload)))
        response = await call_until_answered(self._wire.runs.StartRun, request)
        self.started.append(run_id)
        self._history.add(Started(run_id, STREAM, tuple(keys)))
        self._history.add(RunSeen(run_id, run_state(response.run)))
