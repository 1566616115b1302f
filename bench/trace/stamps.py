"""Puts a time stamp in front of, or behind, a function of a process, and sends what it has to whoever traces.

Nothing is sent while a resume is under way: a process sends its stamps when it has something to do that comes later.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any, Final

PATH: Final = "MIDSTREAM_BENCH_TRACE"
"""The environment variable with the path of the datagram socket."""

_stamps: list[tuple[str, int]] = []
_socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def before(owner: Any, function: str, name: str) -> None:
    """Stamps each call of `owner.function`."""
    _replace(owner, function, lambda call: _stamping(call, first=name))


def after(owner: Any, function: str, name: str) -> None:
    """Stamps each return of `owner.function`, which is no coroutine."""
    _replace(owner, function, lambda call: _stamping(call, last=name))


def send_before(owner: Any, function: str) -> None:
    """Sends all stamps at each call of `owner.function`."""
    _replace(owner, function, _sending)


def _replace(owner: Any, function: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    own = vars(owner).get(function, getattr(owner, function))
    wrapped: Any = wrap(own.__func__ if isinstance(own, staticmethod) else own)
    setattr(owner, function, staticmethod(wrapped) if isinstance(own, staticmethod) else wrapped)


def _stamping(call: Callable[..., Any], *, first: str = "", last: str = "") -> Callable[..., Any]:
    def stamped(*args: Any, **named: Any) -> Any:
        if first:
            _stamps.append((first, time.perf_counter_ns()))
        try:
            return call(*args, **named)
        finally:
            if last:
                _stamps.append((last, time.perf_counter_ns()))

    return stamped


def _sending(call: Callable[..., Any]) -> Callable[..., Any]:
    def sending(*args: Any, **named: Any) -> Any:
        _socket.sendto(json.dumps(_stamps).encode(), os.environ[PATH])
        _stamps.clear()
        return call(*args, **named)

    return sending
