"""Observers: they follow a run's records with `Tail`, from a position of their own."""

from midstream.v1.stream_service_pb2 import TailRequest
from support.chaos.history import History, Tailed
from support.chaos.wire import ConnectionLost, Refusal, Wire, errors_told_apart, seen, surprised


class Observer:
    """Follows one run to its end, over any number of broken calls."""

    def __init__(self, wire: Wire, history: History, name: str, run_id: str) -> None:
        self._wire = wire
        self._history = history
        self._name = name
        self._run_id = run_id
        self._after_offset = 0

    async def run(self) -> None:
        while True:
            try:
                with errors_told_apart():
                    await self._one_call()
                return
            except ConnectionLost:
                continue
            except Refusal as refusal:
                raise surprised(self._history, self._name, self._run_id, refusal) from None

    async def _one_call(self) -> None:
        request = TailRequest(run_id=self._run_id, after_offset=self._after_offset)
        call = self._wire.streams.Tail(request, wait_for_ready=True)
        try:
            async for response in call:
                for record in response.records:
                    self._history.add(Tailed(self._name, seen(record)))
                self._after_offset = response.as_of_offset
        finally:
            call.cancel()
