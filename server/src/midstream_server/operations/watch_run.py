"""WatchRun: a run as it stands, and again after each change."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from midstream_server.domain import errors
from midstream_server.domain.run import Run
from midstream_server.operations.core import Core
from midstream_server.operations.find_runs import get_run
from midstream_server.operations.hub import Bell
from midstream_server.operations.patience import patiently
from midstream_server.operations.reader import Then

PAUSE_SECONDS = 0.1
"""Between two views of a run whose streams change all the time. What happens to the run itself is told at once."""
_NO_STREAM = ""


async def watch_run(core: Core, namespace: str, run_id: str) -> AsyncIterator[Run]:
    """Yields the run at once and after each change, until it has ended. Raises Refused."""
    reader = await open_state(core, namespace, run_id)
    rung = asyncio.Event()
    with reader.watching(rung.set):
        while True:
            rung.clear()
            run, then = await reader.look()
            if run is not None:
                yield run
            if then is Then.END:
                return
            if then is Then.WAIT:
                await rung.wait()


async def open_state(core: Core, namespace: str, run_id: str) -> "StateReader":
    """Raises Refused."""
    run = await get_run(core, namespace, run_id)
    return StateReader(core, namespace, run_id, run.no)


class StateReader:
    """Looks at a run, and tells whether it is another one than at the last look."""

    def __init__(self, core: Core, namespace: str, run_id: str, run_no: int) -> None:
        self._core = core
        self._namespace = namespace
        self._run_id = run_id
        self._run_no = run_no
        self._seen: Run | None = None

    async def look(self) -> tuple[Run | None, Then]:
        run = await patiently(self._core.drain, lambda: self._core.store.get_run(self._namespace, self._run_id))
        changed, self._seen = run != self._seen, run
        if run.state.final:
            return run if changed else None, Then.END
        if changed:
            # A server that drains shows how the run stands before it says so.
            return run, Then.LOOK_AGAIN if self._core.drain.is_set else Then.WAIT
        if self._core.drain.is_set:
            raise errors.server_draining()
        return None, Then.WAIT

    @contextmanager
    def watching(self, wake: Callable[[], None]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        later: asyncio.TimerHandle | None = None

        def at_once() -> None:
            nonlocal later
            if later is not None:
                later.cancel()
                later = None
            wake()

        def soon() -> None:
            nonlocal later
            if later is None:
                later = loop.call_later(PAUSE_SECONDS, at_once)

        bells = Bell(None, soon), Bell(_NO_STREAM, at_once)
        for bell in bells:
            self._core.hub.add(self._run_no, bell)
        try:
            yield
        finally:
            if later is not None:
                later.cancel()
            for bell in bells:
                self._core.hub.remove(self._run_no, bell)
