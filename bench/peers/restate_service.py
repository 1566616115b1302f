"""Restate's side of waiting runs: `python -m bench.peers.restate_service`, with the peers' Python.

As bench.managed_tasks: a task that waits for one number after the other, and tells of each. Here each is an awakeable.
"""

import asyncio
import json
import socket
from datetime import timedelta
from typing import Any

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.server import install_shutdown_hook

from bench.telling import SILENT, STARTED, tell

SUSPENDED_AFTER = timedelta(milliseconds=50)

_awakeables: dict[str, list[str]] = {}

waiter = restate.Service("Waiter")


@waiter.handler("suspended", inactivity_timeout=SUSPENDED_AFTER)
@waiter.handler("warm")
async def wait(context: restate.Context, asked: dict[str, Any]) -> None:
    """Tells that it was entered, and then each number. `asked`: path, how many awakeables, and a name for their ids."""
    awakeables = [context.awakeable(type_hint=int) for _ in range(asked["awakeables"])]
    _awakeables[asked["name"]] = [awakeable_id for awakeable_id, _ in awakeables]
    tell(asked["path"], STARTED)
    for _, resolved in awakeables:
        number = await resolved
        if number != SILENT:
            tell(asked["path"], number)


@waiter.handler("awakeables")
async def awakeables_of(_context: restate.Context, name: str) -> list[str]:
    """The ids that were made for `name`: whoever resolves an awakeable has to know its id."""
    return _awakeables[name]


async def _serve() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.loglevel = "ERROR"
    print(json.dumps({"event": "restate_service_started", "port": listening.getsockname()[1]}), flush=True)
    # The SDK takes SIGTERM away from hypercorn, but shares it with whom it knows.
    ended = asyncio.Event()
    install_shutdown_hook(asyncio.get_running_loop(), ended.set)
    await serve(restate.app([waiter]), config, shutdown_trigger=ended.wait)


if __name__ == "__main__":
    asyncio.run(_serve())
