"""The template: a process that has imported the user's modules, and from which every child is forked.

Start it as `python -m midstream.worker.template FD`, where FD is a socket to the worker. It never touches gRPC, a
network or threads, since a fork copies none of them whole. Where a module has started threads nonetheless, children are
fresh Pythons instead: slower to start, but sound.

The socket carries JSON lines. From the worker: the settings, then `{"do": "fork"}` and `{"do": "kill", "pid": N}`. From
here: `ready`, or `failed`; then `child`, with the child's own socket, and `exited`.
"""

import asyncio
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from midstream.input_stream import InputStream, declared_streams
from midstream.schema_request import has_schema, request_for
from midstream.task import Task
from midstream.worker import child, run_log, tasks, warm_up
from midstream.worker.orphans import kill_group
from midstream.worker.template_settings import TemplateSettings

_WARM_UPS: Final = 30
_READ_BYTES: Final = 65536


class Lines:
    """JSON lines from a blocking socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._buffer = b""

    def read(self) -> list[dict[str, Any]]:
        """What has arrived, at least one line; empty at the end."""
        while True:
            try:
                data = self._stream.recv(_READ_BYTES)
            except ConnectionResetError:  # the worker was killed, and had not read what came last
                data = b""
            if not data:
                return []
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            if lines:
                return [json.loads(line) for line in lines]


class Template:
    """Makes, kills and reaps children. Dies with the worker, and takes them along."""

    def __init__(
        self, control: socket.socket, lines: Lines, settings: TemplateSettings, loaded: dict[str, Task[Any, Any]]
    ) -> None:
        self._control = control
        self._settings = settings
        self._tasks = loaded
        self._children: set[int] = set()
        self._lines = lines
        self.spawns = settings.start_method == "spawn"
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def serve(self, orders: list[dict[str, Any]]) -> NoReturn:
        """`orders` came together with the settings."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(self._wake_read, selectors.EVENT_READ)
        self._obey(orders)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self._control:
                    self._obey(self._lines.read() or self._end())
                else:
                    with suppress(BlockingIOError):
                        os.read(self._wake_read, _READ_BYTES)
                    self._reap()

    def tell(self, event: str, *fds: int, **values: Any) -> None:
        line = json.dumps({"event": event, **values}).encode() + b"\n"
        try:
            socket.send_fds(self._control, [line], fds)
        except OSError:
            self._end()

    def _obey(self, orders: list[dict[str, Any]]) -> None:
        for order in orders:
            if order["do"] == "fork":
                self._make_child()
            elif order["do"] == "kill" and order["pid"] in self._children:
                # Not reaped yet, so the number still means this child.
                kill_group(order["pid"])

    def _make_child(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = self._spawn(theirs) if self.spawns else self._fork(ours, theirs)
            self._children.add(pid)
            self.tell("child", ours.fileno(), pid=pid)

    def _fork(self, ours: socket.socket, theirs: socket.socket) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                ours.close()
                self._control.close()
                os.close(self._wake_read)
                os.close(self._wake_write)
                child.run(theirs, self._tasks, self._settings)
            finally:
                os._exit(1)
        return pid

    def _spawn(self, theirs: socket.socket) -> int:
        fd = theirs.fileno()
        command = [sys.executable, "-m", "midstream.worker.spawned", str(fd), self._settings.to_json()]
        process = subprocess.Popen(command, pass_fds=(fd,))
        pid = process.pid
        process.returncode = 0  # reaped here, with all others
        return pid

    def _reap(self) -> None:
        for pid in list(self._children):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._children.discard(pid)
                self.tell("exited", pid=pid, code=os.waitstatus_to_exitcode(status))

    def _end(self) -> NoReturn:
        """The worker has gone."""
        for pid in self._children:
            kill_group(pid)
        for pid in self._children:
            os.waitpid(pid, 0)
        os._exit(0)


def main() -> NoReturn:
    control = socket.socket(fileno=int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        # The worker decides when to go; this process goes when the worker has.
        signal.signal(number, lambda *_: None)
    lines = Lines(control)
    first, *orders = lines.read() or [{}]
    if not first:
        os._exit(0)
    settings = TemplateSettings.from_json(json.dumps(first))
    prepare_process(settings)
    try:
        ours = declared_streams()
        loaded = tasks.load(settings.modules)
        code_versions = {name: tasks.code_version(task) for name, task in loaded.items()}
        schemas = declared_schemas(ours) if settings.push_schemas else b""
    except tasks.TasksNotFound as error:
        control.sendall(json.dumps({"event": "failed", "error": str(error)}).encode() + b"\n")
        os._exit(1)
    run_log.set_up(settings.log_format)
    for task in loaded.values():
        # Made once here, not by every child.
        task.payload_codec, task.result_codec  # noqa: B018
    template = Template(control, lines, settings, loaded)
    threads = _threads()
    template.spawns |= settings.start_method == "auto" and bool(threads)
    if not template.spawns:
        # Only here: a loop that ran before a fork is closed, so nothing of it is shared.
        asyncio.run(warm_up.many(_WARM_UPS))
        gc.collect()
        gc.freeze()
    template.tell(
        "ready",
        tasks=code_versions,
        threads=threads,
        spawns=template.spawns,
        pid=os.getpid(),
        schemas=b64encode(schemas).decode(),
    )
    template.serve(orders)


def prepare_process(settings: TemplateSettings) -> None:
    """What the template and spawned children have in common before they import anything of the user's."""
    sys.path.insert(0, str(Path(settings.directory).resolve()))
    for stream in (sys.stdout, sys.stderr):
        # A child is killed, not ended: what it printed must be out by then.
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def declared_schemas(before: Collection[InputStream[Any]]) -> bytes:
    """What streams say about their types that were not declared `before`, as a serialised RegisterSchemasRequest.

    Raises TasksNotFound.
    """
    declared = [stream for stream in declared_streams() if stream not in before]
    try:
        return request_for(filter(has_schema, declared)).SerializeToString()
    except TypeError as error:
        raise tasks.TasksNotFound(f"--push-schemas: {error}") from error


def _threads() -> list[str]:
    """What a fork would break: threads of Python's, and gRPC once it runs."""
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if "grpc" in sys.modules and _os_threads() > 1 + len(threads):
        threads.append("gRPC")
    return threads


def _os_threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return 1


if __name__ == "__main__":
    main()
