"""RunService over gRPC: converts, calls the operation, converts."""

from collections.abc import AsyncIterator
from typing import Any

from midstream.v1 import run_service_pb2 as pb
from midstream_server.domain import errors
from midstream_server.domain.access_token import check_spec
from midstream_server.domain.limits import Limits
from midstream_server.domain.run import State
from midstream_server.domain.scope import Action
from midstream_server.operations import Core
from midstream_server.operations.admit import admit
from midstream_server.operations.end_run import cancel_run, finish_run
from midstream_server.operations.find_runs import get_run, list_runs
from midstream_server.operations.list_entries import list_entries
from midstream_server.operations.start_run import attach_run, new_run_id, start_run
from midstream_server.operations.tokens import mint_token
from midstream_server.operations.watch_run import watch_run
from midstream_server.transport import convert
from midstream_server.transport.caller import current_caller
from midstream_server.transport.drafts import Drafter
from midstream_server.transport.entries import repeated_entries
from midstream_server.transport.shown_run import shown_run
from midstream_server.transport.tokens import access_token, token_spec

Context = Any


class RunServicer:
    """One method for each RPC of midstream.v1.RunService; see there."""

    def __init__(self, core: Core, limits: Limits) -> None:
        self._core = core
        self._drafter = Drafter(limits)

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.StartRunResponse:
        caller = current_caller.get()
        caller.check_backend()
        run_id = request.run_id or new_run_id()
        access = token_spec(request.access, "access", run_id=run_id) if request.HasField("access") else None
        if access is not None:
            check_spec("access", access)
        run, created = await start_run(
            self._core,
            caller,
            run_id,
            convert.spec(request.spec, self._drafter),
            [
                (first.stream_id, self._drafter.draft(first.stream_id, first.record, caller))
                for first in request.records
            ],
        )
        response = pb.StartRunResponse(run=convert.run(run), created=created)
        if access is not None:
            response.access_token.CopyFrom(access_token(mint_token(self._core, caller, access, path="access")))
        return response

    async def AttachRun(self, request: pb.AttachRunRequest, context: Context) -> pb.AttachRunResponse:
        caller = current_caller.get()
        caller.check_backend()
        run, created = await attach_run(
            self._core,
            caller,
            request.run_id,
            convert.spec(request.spec, self._drafter),
        )
        return pb.AttachRunResponse(run=convert.run(run), created=created)

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        caller = current_caller.get()
        namespace = await admit(self._core, caller, Action.READ, request.run_id, any_stream=True)
        run = await get_run(self._core, namespace, request.run_id)
        return pb.GetRunResponse(run=shown_run(run, caller))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        caller = current_caller.get()
        caller.check_backend()
        runs, next_page_token = await list_runs(
            self._core,
            caller.namespace,
            task=request.task,
            states=[_state(number) for number in request.states],
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListRunsResponse(runs=[convert.run(run, brief=True) for run in runs], next_page_token=next_page_token)

    async def ListEntries(self, request: pb.ListEntriesRequest, context: Context) -> bytes:
        entries, assignments, next_page_token = await list_entries(
            self._core,
            await admit(self._core, current_caller.get(), Action.READ, request.run_id),
            request.run_id,
            page_size=request.page_size,
            page_token=request.page_token,
            payload_view=request.payload_view,
        )
        rest = pb.ListEntriesResponse(
            assignments=[convert.assignment(each) for each in assignments], next_page_token=next_page_token
        )
        return repeated_entries(request.run_id, entries) + rest.SerializeToString()

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        caller = current_caller.get()
        namespace = await admit(self._core, caller, Action.CANCEL, request.run_id)
        run = await cancel_run(self._core, namespace, request.run_id)
        return pb.CancelRunResponse(run=shown_run(run, caller))

    async def FinishRun(self, request: pb.FinishRunRequest, context: Context) -> pb.FinishRunResponse:
        caller = current_caller.get()
        caller.check_backend(request.run_id)
        state, outcome = convert.outcome(request.outcome, self._drafter)
        run = await finish_run(self._core, caller.namespace, request.run_id, state, outcome)
        return pb.FinishRunResponse(run=convert.run(run))

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        caller = current_caller.get()
        namespace = await admit(self._core, caller, Action.READ, request.run_id, any_stream=True)
        async for run in watch_run(self._core, namespace, request.run_id):
            yield pb.WatchRunResponse(run=shown_run(run, caller))


def _state(number: int) -> State:
    try:
        return State(number)
    except ValueError:
        raise errors.field_invalid("states", f"{number} is not a state of a run") from None
