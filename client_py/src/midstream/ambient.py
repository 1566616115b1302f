"""What a stream uses when it is told nothing: the client of the enclosing block, else a default one for the loop."""

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from midstream.client import Client
    from midstream.receiving.receiver import Receiver

client_in_block: Final[ContextVar["Client | None"]] = ContextVar("midstream_client", default=None)
"""Set within `async with midstream.connect()`."""

run_in_block: Final[ContextVar["Receiver | None"]] = ContextVar("midstream_run", default=None)
"""Set within `async with client.attach()`, and in a task."""

_defaults: Final["dict[asyncio.AbstractEventLoop, Client]"] = {}


def current_client() -> "Client":
    """The enclosing block's client, else this loop's default one, by MIDSTREAM_URL. Needs a running loop."""
    enclosing = client_in_block.get()
    if enclosing is not None and not enclosing.closed:
        return enclosing
    loop = asyncio.get_running_loop()
    client = _defaults.get(loop)
    if client is None or client.closed:
        from midstream.client import connect

        for closed in [other for other in _defaults if other.is_closed()]:
            del _defaults[closed]
        client = _defaults[loop] = connect()
    return client
