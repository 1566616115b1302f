"""The worker's side of the template: starts it, starts it again, and keeps a few children ready."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from midstream.worker.exit_code import how_it_ended
from midstream.worker.orphans import adopt_orphans, kill_group, reap_orphan
from midstream.worker.ready import Ready, TemplateFailed
from midstream.worker.template_settings import TemplateSettings
from midstream.worker.warm_child import WarmChild

_REFILL_SECONDS: Final = 0.02
_RESTART_SECONDS: Final = 0.5
_MAX_FDS: Final = 64
_READ_BYTES: Final = 65536


class Nursery:
    """Gives out children that are warm already, where there are any, else as soon as they are."""

    def __init__(
        self,
        settings: TemplateSettings,
        *,
        spares: int,
        environment: Mapping[str, str],
        on_template_death: Callable[[str], None],
        on_new_tasks: Callable[[Mapping[str, str]], None],
    ) -> None:
        self._settings = settings
        self._target = spares
        self._environment = dict(environment)
        self._on_template_death = on_template_death
        self._on_new_tasks = on_new_tasks
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Ready] = self._loop.create_future()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._fds: deque[int] = deque()
        self._asked = 0
        self._spares: deque[WarmChild] = deque()
        self._warming: deque[WarmChild] = deque()
        self._wanted: deque[WarmChild] = deque()
        self._by_pid: dict[int, WarmChild] = {}
        self._orphans: set[int] = set()
        self._refill: asyncio.Handle | None = None
        self._closed = False

    @property
    def spare_count(self) -> int:
        return len(self._spares)

    @property
    def template_pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def child_pids(self) -> set[int]:
        """Of children that have not been reaped: spare ones, executing ones."""
        return set(self._by_pid)

    async def start(self) -> Ready:
        """Raises TemplateFailed."""
        adopt_orphans()
        self._start_template()
        ready = await self._ready
        self._fill()
        return ready

    def take(self, *, on_frame: Callable[[bytes], None], on_death: Callable[[str], None]) -> WarmChild:
        """A child for one run. Frames sent before there is a process are kept for it."""
        free = self._spares or self._warming
        child = free.popleft() if free else self._want()
        child.begin(on_frame, on_death)
        if self._refill is None:
            # Not at once: the run has just begun, and is to have the processor. It may be over before: see `_kill`.
            self._refill = self._loop.call_later(_REFILL_SECONDS, self._fill)
        return child

    async def close(self) -> None:
        """Kills and reaps every child, and ends the template."""
        self._closed = True
        if self._refill is not None:
            self._refill.cancel()
        for child in list(self._by_pid.values()):
            child.kill()
        if self._control is not None:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
        for pid in list(self._orphans):
            await reap_orphan(pid)
        for fd in self._fds:
            os.close(fd)

    # The template.

    def _start_template(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            # The same order of sets and dicts in every process that executes runs.
            environment = {**os.environ, **self._environment, "PYTHONHASHSEED": "0"}
            command = [sys.executable, "-m", "midstream.worker.template", str(fd)]
            self._process = subprocess.Popen(command, pass_fds=(fd,), env=environment)
        ours.sendall(self._settings.to_json().encode() + b"\n")
        ours.setblocking(False)
        self._control = ours
        self._buffer = b""
        self._asked = 0
        self._loop.add_reader(ours.fileno(), self._read, ours)

    def _read(self, control: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(control, _READ_BYTES, _MAX_FDS)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        self._fds.extend(fds)
        if not data:
            self._template_died(control)
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._event(json.loads(line))

    def _event(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "child":
                self._arrived(event["pid"], self._fds.popleft())
            case "exited":
                self._gone(event["pid"], event["code"])
            case "ready":
                schemas = b64decode(event["schemas"])
                ready = Ready(event["tasks"], tuple(event["threads"]), event["spawns"], event["pid"], schemas)
                if self._ready.done():
                    self._on_new_tasks(ready.tasks)
                    self._fill()
                else:
                    self._ready.set_result(ready)
            case "failed":
                if not self._ready.done():
                    self._ready.set_exception(TemplateFailed(event["error"]))

    def _order(self, **order: Any) -> None:
        if self._control is not None:
            with suppress(OSError):
                self._control.sendall(json.dumps(order).encode() + b"\n")

    def _template_died(self, control: socket.socket) -> None:
        self._loop.remove_reader(control.fileno())
        control.close()
        self._control = None
        assert self._process is not None
        code = self._process.wait()
        if not self._ready.done():
            self._ready.set_exception(TemplateFailed(f"the process that imports the tasks {how_it_ended(code)}"))
            return
        # Its children live on, and are this process's to reap now. Spare ones go: there will be new ones.
        self._orphans |= set(self._by_pid)
        for free in (*self._spares, *self._warming):
            free.kill()
        self._spares.clear()
        self._warming.clear()
        for pid in self._orphans:
            self._loop.create_task(self._reap(pid))
        if not self._closed:
            self._on_template_death(how_it_ended(code))
            self._loop.call_later(_RESTART_SECONDS, self._restart)

    def _restart(self) -> None:
        if not self._closed:
            self._start_template()
            for _ in self._wanted:
                self._ask()

    # Children.

    def _want(self) -> WarmChild:
        child = WarmChild(self._kill)
        self._wanted.append(child)
        if len(self._wanted) > self._asked:
            self._ask()
        return child

    def _ask(self) -> None:
        self._asked += 1
        self._order(do="fork")

    def _fill(self) -> None:
        self._refill = None
        coming = len(self._warming) + self._asked - len(self._wanted)
        for _ in range(self._target - len(self._spares) - coming):
            self._ask()

    def _arrived(self, pid: int, fd: int) -> None:
        """A process exists. Where a run waits for one, it is given to it before it is warm."""
        self._asked = max(0, self._asked - 1)
        stream = socket.socket(fileno=fd)
        if self._wanted:
            child = self._wanted.popleft()
        else:
            child = WarmChild(self._kill)
            self._warming.append(child)
        self._by_pid[pid] = child
        child.attach(pid, stream, on_ready=self._spare_is_ready)

    def _spare_is_ready(self, child: WarmChild) -> None:
        if child in self._warming:
            self._warming.remove(child)
            self._spares.append(child)

    def _kill(self, pid: int) -> None:
        if self._refill is not None and not self._closed:
            self._refill.cancel()
            self._refill = self._loop.call_soon(self._fill)
        if pid in self._orphans:
            kill_group(pid)
        else:
            self._order(do="kill", pid=pid)

    def _gone(self, pid: int, code: int) -> None:
        child = self._by_pid.pop(pid, None)
        self._orphans.discard(pid)
        if child is not None:
            for free in (self._spares, self._warming):
                if child in free:
                    free.remove(child)
            child.exited(how_it_ended(code))

    async def _reap(self, pid: int) -> None:
        self._gone(pid, await reap_orphan(pid))
