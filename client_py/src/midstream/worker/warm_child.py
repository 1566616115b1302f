"""The worker's end of one child process."""

import socket
from collections.abc import Callable

from midstream.worker.frames import READY, FrameSocket


class WarmChild:
    """Waits for a run, executes it, is killed. Says once that it died, if nobody killed it."""

    def __init__(self, kill: Callable[[int], None]) -> None:
        self._kill = kill
        self.pid: int | None = None
        self._socket: FrameSocket | None = None
        self._unsent: list[bytes] = []
        self._on_frame: Callable[[bytes], None] | None = None
        self._on_death: Callable[[str], None] | None = None
        self._on_ready: Callable[[WarmChild], None] | None = None
        self._killed = False
        self._said_all = False
        self._how: str | None = None

    def begin(self, on_frame: Callable[[bytes], None], on_death: Callable[[str], None]) -> None:
        """Gives it a run. `on_death` is told how the process ended, after its last frame."""
        self._on_frame = on_frame
        self._on_death = on_death

    def attach(self, pid: int, stream: socket.socket, *, on_ready: "Callable[[WarmChild], None]") -> None:
        """The process exists."""
        self.pid = pid
        self._on_ready = on_ready
        self._socket = FrameSocket(stream, on_frame=self._received, on_end=self._ended)
        for frame in self._unsent:
            self._socket.send(frame)
        self._unsent.clear()
        if self._killed:
            self.kill()

    def deliver(self, frame: bytes) -> None:
        if self._socket is None:
            self._unsent.append(frame)
        else:
            self._socket.send(frame)

    def kill(self) -> None:
        """At once, wherever it stands: nothing more is heard of it."""
        self._killed = True
        if self._socket is not None:
            self._socket.close()
        if self.pid is not None:
            self._kill(self.pid)

    def exited(self, how: str) -> None:
        """It has been reaped."""
        self._how = how
        self._report()

    def _received(self, frame: bytes) -> None:
        if frame == READY:
            if self._on_ready is not None:
                self._on_ready(self)
        elif self._on_frame is not None:
            self._on_frame(frame)

    def _ended(self) -> None:
        self._said_all = True
        self._report()

    def _report(self) -> None:
        if self._killed or self._on_death is None or self._how is None or not self._said_all:
            return
        self._killed = True
        self._on_death(self._how)
