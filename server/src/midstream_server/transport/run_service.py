"""RunService over gRPC: converts, calls the operation, converts."""

from collections.abc import AsyncIterator
from typing import Any

from midstream.v1 import run_service_pb2 as pb
from midstream_server.domain import errors
from midstream_server.domain.limits import Limits
from midstream_server.domain.run import State
from midstream_server.operations import Core
from midstream_server.operations.end_run import cancel_run, finish_run
from midstream_server.operations.find_runs import get_run, list_runs
from midstream_server.operations.list_entries import list_entries
from midstream_server.operations.start_run import attach_run, start_run
from midstream_server.operations.watch_run import watch_run
from midstream_server.transport import convert
from midstream_server.transport.caller import current_caller
from midstream_server.transport.drafts import Drafter
from midstream_server.transport.entries import repeated_entries

Context = Any


class RunServicer:
    """One method for each RPC of midstream.v1.RunService; see there."""

    def __init__(self, core: Core, limits: Limits) -> None:
        self._core = core
        self._drafter = Drafter(limits)

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.StartRunResponse:
        caller = current_caller.get()
        run, created = await start_run(
            self._core,
            caller.namespace,
            request.run_id,
            convert.spec(request.spec, self._drafter),
            [
                (first.stream_id, self._drafter.draft(first.stream_id, first.record, caller))
                for first in request.records
            ],
        )
        return pb.StartRunResponse(run=convert.run(run), created=created)

    async def AttachRun(self, request: pb.AttachRunRequest, context: Context) -> pb.AttachRunResponse:
        run, created = await attach_run(
            self._core,
            current_caller.get().namespace,
            request.run_id,
            convert.spec(request.spec, self._drafter),
        )
        return pb.AttachRunResponse(run=convert.run(run), created=created)

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        run = await get_run(self._core, current_caller.get().namespace, request.run_id)
        return pb.GetRunResponse(run=convert.run(run))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        runs, next_page_token = await list_runs(
            self._core,
            current_caller.get().namespace,
            task=request.task,
            states=[_state(number) for number in request.states],
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListRunsResponse(runs=[convert.run(run, brief=True) for run in runs], next_page_token=next_page_token)

    async def ListEntries(self, request: pb.ListEntriesRequest, context: Context) -> bytes:
        entries, assignments, next_page_token = await list_entries(
            self._core,
            current_caller.get().namespace,
            request.run_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        rest = pb.ListEntriesResponse(
            assignments=[convert.assignment(each) for each in assignments], next_page_token=next_page_token
        )
        return repeated_entries(request.run_id, entries) + rest.SerializeToString()

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        run = await cancel_run(self._core, current_caller.get().namespace, request.run_id)
        return pb.CancelRunResponse(run=convert.run(run))

    async def FinishRun(self, request: pb.FinishRunRequest, context: Context) -> pb.FinishRunResponse:
        state, outcome = convert.outcome(request.outcome, self._drafter)
        run = await finish_run(self._core, current_caller.get().namespace, request.run_id, state, outcome)
        return pb.FinishRunResponse(run=convert.run(run))

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        async for run in watch_run(self._core, current_caller.get().namespace, request.run_id):
            yield pb.WatchRunResponse(run=convert.run(run))


def _state(number: int) -> State:
    try:
        return State(number)
    except ValueError:
        raise errors.field_invalid("states", f"{number} is not a state of a run") from None
