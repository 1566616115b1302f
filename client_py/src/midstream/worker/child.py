"""The process that executes one run: waits, warm, for its first frame, and never returns.

It knows nothing of the network: its frames come and go over one socket. The worker kills it when the run is suspended
or has ended; when the worker is gone, it goes too.
"""

import asyncio
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn

from midstream.clock import SystemClock
from midstream.task import Task
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker import local_frames, warm_up
from midstream.worker.frames import READY, FrameSocket
from midstream.worker.host import RunHost
from midstream.worker.piped_calls import PipedCalls
from midstream.worker.template_settings import TemplateSettings

_WARM_UPS: Final = 1
_ENDING: Final = ("suspend", "finish", "block", "release")


class Child:
    """Makes a host when its run is assigned, and feeds it."""

    def __init__(self, stream: socket.socket, tasks: Mapping[str, Task[Any, Any]], settings: TemplateSettings) -> None:
        self._tasks = tasks
        self._settings = settings
        self._host: RunHost | None = None
        self._socket = FrameSocket(stream, on_frame=self._receive, on_end=_exit)
        self._caller = PipedCalls(self._socket.send)

    def ready(self) -> None:
        self._socket.send(READY)

    def _receive(self, data: bytes) -> None:
        if local_frames.is_local(data):
            self._caller.answered(data)
            return
        frame = WorkResponse.FromString(data)
        if frame.HasField("assigned"):
            task = self._tasks[frame.assigned.task]
            own, told = task.idle_timeout_us, self._settings.idle_timeout_us
            self._host = RunHost(
                frame.assigned,
                task,
                send=self._send,
                caller=self._caller,
                clock=SystemClock(),
                idle_timeout_us=own if told is None else told,
            )
        if self._host is not None:
            self._host.receive(frame)

    def _send(self, request: WorkRequest) -> None:
        if request.WhichOneof("frame") in _ENDING:
            # The process may be killed as soon as this has arrived.
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
        self._socket.send(request.SerializeToString())


def run(stream: socket.socket, tasks: Mapping[str, Task[Any, Any]], settings: TemplateSettings) -> NoReturn:
    """The whole life of a child process."""
    try:
        # A group of its own: Ctrl-C in the terminal is for the worker, and what a step started dies with its child.
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not SIG_IGN, which programs that a step starts would inherit.
            signal.signal(number, lambda *_: None)
        with asyncio.Runner() as runner:
            runner.run(_serve(stream, tasks, settings))
    except BaseException:
        traceback.print_exc()
    finally:
        _exit(1)


async def _serve(stream: socket.socket, tasks: Mapping[str, Task[Any, Any]], settings: TemplateSettings) -> None:
    if not _is_readable(stream):
        for _ in range(_WARM_UPS):
            warm_up.once()
    # Else its run is there already.
    Child(stream, tasks, settings).ready()
    await asyncio.get_running_loop().create_future()


def _is_readable(stream: socket.socket) -> bool:
    return bool(select.select((stream,), (), (), 0)[0])


def _exit(code: int = 0) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
