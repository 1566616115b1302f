"""Ports for programs that do not say which one they were given."""

import asyncio
import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """Of 127.0.0.1: different ones, on which nobody listens now."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


async def is_open(port: int) -> bool:
    """Whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
