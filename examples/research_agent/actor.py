"""A process on the demo's stage: its lines are shown as they come, and can be waited for."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping

from narrator import Narrator

PATIENCE = 60.0  # seconds until a line that does not come is an error; nothing is timed by it


class StageError(Exception):
    """The play cannot go on; the message says why."""


class Actor:
    """A process. Its lines are kept, so that the play can wait for them, and shown: by `show`, where that is given."""

    def __init__(self, name: str, style: str, narrator: Narrator, *, show: Callable[[str], None] | None = None) -> None:
        self.name = name
        self._style = style
        self._narrator = narrator
        self._show = self._show_as_it_is if show is None else show
        self._lines: list[str] = []
        self._heard = 0
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def enter(self, *arguments: str, environment: Mapping[str, str]) -> None:
        """Starts `python ARGUMENTS`, in a session of its own so that Ctrl-C reaches the demo alone."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            self._lines.append(line)
            self._changed.set()
            self._show(line)
        self._changed.set()

    def _show_as_it_is(self, line: str) -> None:
        self._narrator.line(self.name, self._style, line)

    @property
    def pid(self) -> int:
        return self._running.pid

    async def says(self, *words: str) -> str:
        """Waits for the next line that holds all of `words` and returns it; StageError if it cannot come any more."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self._changed.clear()
                    while self._heard < len(self._lines):
                        line = self._lines[self._heard]
                        self._heard += 1
                        if all(word in line for word in words):
                            return line
                    if self._reader is None or self._reader.done():
                        raise StageError(
                            f"the {self.name} ended before it said {' '.join(words)!r}.{self._last_words()}"
                        )
                    await self._changed.wait()
        except TimeoutError:
            raise StageError(f"the {self.name} did not say {' '.join(words)!r}.{self._last_words()}") from None

    async def type(self, line: str) -> None:
        """Types a line into its terminal."""
        self._narrator.line(self.name, self._style, f"> {line}")
        assert self._running.stdin is not None
        with contextlib.suppress(ConnectionError):  # It has ended: the next wait for its lines says so, and why.
            self._running.stdin.write(f"{line}\n".encode())
            await self._running.stdin.drain()

    def forget(self) -> None:
        """Waits from now on only for lines yet to come."""
        self._heard = len(self._lines)

    async def die(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        await self._gone()

    async def stop(self) -> None:
        """SIGTERM; StageError unless it ends well."""
        self._signal(signal.SIGTERM)
        await self.ended()

    async def leave(self) -> None:
        """Ends its input; StageError unless it ends well."""
        assert self._running.stdin is not None
        self._running.stdin.close()
        await self.ended()

    async def ended(self) -> None:
        """Waits for its end; StageError unless that is a good one."""
        code = await self._gone()
        if code != 0:
            raise StageError(f"the {self.name} ended with exit code {code}.{self._last_words()}")

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(number)

    async def _gone(self) -> int:
        assert self._reader is not None
        try:
            async with asyncio.timeout(PATIENCE):
                await self._reader
                return await self._running.wait()
        except TimeoutError:
            raise StageError(f"the {self.name} does not end.{self._last_words()}") from None

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "it has not entered"
        return self._process

    async def clear(self) -> None:
        """Makes sure that it is gone, whatever happened."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await self._process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    def _last_words(self) -> str:
        last = "\n".join(f"    {line}" for line in self._lines[-12:])
        return f" Its last lines:\n{last}" if last else " It said nothing."
