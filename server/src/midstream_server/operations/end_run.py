"""CancelRun and FinishRun: a run comes to its end."""

from midstream_server.domain.names import check_name
from midstream_server.domain.run import Run, State
from midstream_server.operations.core import Core


async def cancel_run(core: Core, namespace: str, run_id: str) -> Run:
    """Cancels a queued run; asks any other to stop, once. Raises Refused."""
    check_name("run_id", run_id)
    run = await core.store.request_cancel(namespace, run_id, now_us=core.clock.now_us())
    core.timers_changed()
    return run


async def finish_run(core: Core, namespace: str, run_id: str, state: State, outcome: bytes) -> Run:
    """Ends an attached run. Raises Refused."""
    check_name("run_id", run_id)
    run = await core.store.finish(namespace, run_id, state, outcome, now_us=core.clock.now_us())
    core.hub.forget(run.no)
    core.timers_changed()
    return run
