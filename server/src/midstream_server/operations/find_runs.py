"""GetRun and ListRuns: runs as they stand."""

from collections.abc import Sequence

from midstream_server.domain import errors
from midstream_server.domain.names import check_name
from midstream_server.domain.run import Run, State
from midstream_server.operations.core import Core
from midstream_server.operations.page_token import read_token, write_token

MAX_PAGE = 1_000
MAX_PAGE_STREAMS = 10_000
DEFAULT_PAGE = 50


async def get_run(core: Core, namespace: str, run_id: str) -> Run:
    check_name("run_id", run_id)
    return await core.store.get_run(namespace, run_id)


async def list_runs(
    core: Core, namespace: str, *, task: str, states: Sequence[State], page_size: int, page_token: str
) -> tuple[list[Run], str]:
    """A page, newest first, and the token of the next one: empty on the last. Raises Refused."""
    if task:
        check_name("task", task)
    if not 0 <= page_size <= MAX_PAGE:
        raise errors.field_invalid("page_size", f"is {page_size}, must be 0 to {MAX_PAGE:,}")
    size = page_size or DEFAULT_PAGE
    filters = f"{task}/{','.join(str(int(state)) for state in sorted(states))}"
    runs = await core.store.list_runs(
        namespace, task=task or None, states=states, before_no=read_token(page_token, filters), limit=size + 1
    )
    page = _bounded(runs[:size])
    return page, write_token(page[-1].no, filters) if len(page) < len(runs) else ""


def _bounded(runs: list[Run]) -> list[Run]:
    """As many as fit into a response, and at least one: each stream of a run takes its place there."""
    total = 0
    for index, run in enumerate(runs):
        total += 1 + len(run.streams)
        if index and total > MAX_PAGE_STREAMS:
            return runs[:index]
    return runs
