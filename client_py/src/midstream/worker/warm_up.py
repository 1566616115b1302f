"""A run that never was: what it executes is compiled, imported and in the caches before the first real one."""

import asyncio
from typing import Final

from pydantic import BaseModel

from midstream.clock import SystemClock
from midstream.input_stream import InputStream, input_stream
from midstream.runtime.context import Context
from midstream.task import Task
from midstream.v1.entry_pb2 import Entry
from midstream.v1.run_service_pb2 import StartRunRequest, StartRunResponse
from midstream.v1.stream_service_pb2 import SendOneRequest, SendOneResponse
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker.host import RunHost

_RUN_ID: Final = "run_warm-up"
_EPOCH_US: Final = 1_767_225_600_000_000
_TURNS: Final = 1
_JSON: Final = '{"number": 1, "text": "warm"}'


async def _nothing(number: int) -> int:
    return number


class _Model(BaseModel):
    """Checking a first value costs 0.2 ms of page faults: a fork does not take over which code is mapped already."""

    number: int
    text: str


_go: Final = input_stream("go", _Model)


async def _dummy(context: Context, payload: _Model) -> None:
    data: InputStream[object] = input_stream("data")
    data.on(lambda value: None)
    for number in range(_TURNS):
        (await _go.wait(timeout=5)).unwrap()
        await context.step(_nothing, number)


_TASK: Final[Task[_Model, None]] = Task(_dummy, "warm-up")


class _NoCalls:
    async def send(self, request: SendOneRequest) -> SendOneResponse:
        raise NotImplementedError

    async def start_run(self, request: StartRunRequest) -> StartRunResponse:
        raise NotImplementedError


def _serialize(request: WorkRequest) -> None:
    request.SerializeToString()


def once() -> None:
    """Executes the dummy, within a running event loop. Its steps are issued and answered, but never run."""
    host = RunHost(
        WorkResponse.Assigned(run_id=_RUN_ID, epoch=1, task=_TASK.name, last_offset=2),
        _TASK,
        send=_serialize,
        caller=_NoCalls(),
        clock=SystemClock(),
        idle_timeout_us=5_000_000,
    )
    offset = 0

    def receive(entry: Entry) -> None:
        nonlocal offset
        offset += 1
        entry.offset = offset
        entry.append_time.FromMicroseconds(_EPOCH_US + offset)
        frame = WorkResponse(entries=WorkResponse.Entries(run_id=_RUN_ID, epoch=1, entries=[entry]))
        host.receive(WorkResponse.FromString(frame.SerializeToString()))

    created = Entry()
    created.created.spec.task = _TASK.name
    created.created.spec.payload.json = _JSON
    receive(created)
    receive(Entry(started=Entry.Started(seed=b"seed")))
    for number in range(_TURNS):
        record = Entry()
        record.record.stream_id = "go"
        record.record.seq = number + 1
        record.record.payload.json = _JSON
        receive(record)
        for operation in list(host.pending_steps):
            value = Entry(step_ended=Entry.StepEnded(operation=operation, attempt=1))
            value.step_ended.value.json = str(number)
            receive(value)
    host.close()


async def many(times: int) -> None:
    for _ in range(times):
        once()
        await asyncio.sleep(0)  # the steps' tasks, cancelled before they began, leave the loop
