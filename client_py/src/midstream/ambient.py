"""What a stream uses when it is told nothing: the client of the enclosing block, else a default one for the loop."""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from midstream.client import Client
    from midstream.receiving.receiver import Receiver
    from midstream.v1.record_pb2 import Payload

client_in_block: Final[ContextVar["Client | None"]] = ContextVar("midstream_client", default=None)
"""Set within `async with midstream.connect()`."""

run_in_block: Final[ContextVar["Receiver | None"]] = ContextVar("midstream_run", default=None)
"""Set within `async with client.attach()`, and in a task."""


class Outputs(Protocol):
    """Takes what is appended to output streams."""

    def append(self, stream_id: str, payload: "Payload", metadata: Mapping[str, str]) -> None: ...

    async def flush(self) -> None: ...


outputs_in_block: Final[ContextVar["Outputs | None"]] = ContextVar("midstream_outputs", default=None)
"""Set in a task, and anew in the code of each of its steps."""

_defaults: Final["dict[asyncio.AbstractEventLoop, Client]"] = {}


def current_client() -> "Client":
    """The enclosing block's client, else this loop's default one, by MIDSTREAM_URL. Needs a running loop."""
    enclosing = client_in_block.get()
    loop = asyncio.get_running_loop()
    # Threads inherit their caller's context, but have loops of their own.
    if enclosing is not None and not enclosing.closed and enclosing.loop in (None, loop):
        return enclosing
    client = _defaults.get(loop)
    if client is None or client.closed:
        from midstream.client import connect

        for closed in [other for other in _defaults if other.is_closed()]:
            del _defaults[closed]
        client = _defaults[loop] = connect()
    return client
