"""What a run's loop refuses, and what to write instead."""

from collections.abc import Callable
from typing import Any, Final, NoReturn

from midstream.runtime.errors import UnjournaledAwait

_STEP: Final = "do it in a step, `await ctx.step(function, ...)`, whose result is recorded"
_THREAD: Final = "make the function a step, `await ctx.step(function, ...)`: a step that is not async runs in a thread"
_SIGNAL: Final = "signals belong to the worker; send the run a record, or cancel it"
_OTHER_THREAD: Final = "nothing outside may call into a run; send it a record on an input stream"
_LOOP: Final = "the worker runs this loop"


def _refuse(name: str, instead: str) -> Callable[..., NoReturn]:
    def refused(self: object, *args: Any, **kwargs: Any) -> NoReturn:
        raise UnjournaledAwait(name, instead)

    refused.__name__ = name
    return refused


class RefusesIO:
    """All of an event loop that reaches outside."""

    run_in_executor = _refuse("run_in_executor (or asyncio.to_thread)", _THREAD)
    set_default_executor = _refuse("set_default_executor", _THREAD)
    call_soon_threadsafe = _refuse("call_soon_threadsafe", _OTHER_THREAD)
    add_signal_handler = _refuse("add_signal_handler", _SIGNAL)
    remove_signal_handler = _refuse("remove_signal_handler", _SIGNAL)
    run_forever = _refuse("run_forever", _LOOP)
    run_until_complete = _refuse("run_until_complete", _LOOP)
    stop = _refuse("stop", _LOOP)
    close = _refuse("close", _LOOP)
    getaddrinfo = _refuse("getaddrinfo", _STEP)
    getnameinfo = _refuse("getnameinfo", _STEP)
    create_connection = _refuse("create_connection", _STEP)
    create_server = _refuse("create_server", _STEP)
    create_unix_connection = _refuse("create_unix_connection", _STEP)
    create_unix_server = _refuse("create_unix_server", _STEP)
    create_datagram_endpoint = _refuse("create_datagram_endpoint", _STEP)
    connect_accepted_socket = _refuse("connect_accepted_socket", _STEP)
    connect_read_pipe = _refuse("connect_read_pipe", _STEP)
    connect_write_pipe = _refuse("connect_write_pipe", _STEP)
    start_tls = _refuse("start_tls", _STEP)
    sendfile = _refuse("sendfile", _STEP)
    subprocess_exec = _refuse("subprocess_exec", _STEP)
    subprocess_shell = _refuse("subprocess_shell", _STEP)
    add_reader = _refuse("add_reader", _STEP)
    remove_reader = _refuse("remove_reader", _STEP)
    add_writer = _refuse("add_writer", _STEP)
    remove_writer = _refuse("remove_writer", _STEP)
    sock_recv = _refuse("sock_recv", _STEP)
    sock_recv_into = _refuse("sock_recv_into", _STEP)
    sock_recvfrom = _refuse("sock_recvfrom", _STEP)
    sock_recvfrom_into = _refuse("sock_recvfrom_into", _STEP)
    sock_sendall = _refuse("sock_sendall", _STEP)
    sock_sendto = _refuse("sock_sendto", _STEP)
    sock_sendfile = _refuse("sock_sendfile", _STEP)
    sock_connect = _refuse("sock_connect", _STEP)
    sock_accept = _refuse("sock_accept", _STEP)
