"""What every call has in common, on every transport: caller, metrics, log, errors, and no new calls while draining."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from midstream_server.domain.errors import Reason, Refused, server_draining
from midstream_server.drain import Drain
from midstream_server.telemetry import log
from midstream_server.telemetry.metrics import CallMetrics, Metrics
from midstream_server.transport import status
from midstream_server.transport.caller import ANONYMOUS, UNKNOWN, Caller, current_caller
from midstream_server.transport.leash import Leash

OWN_SERVICES: Final = "/midstream.v1."
FOLLOW: Final = "/midstream.v1.StreamService/Follow"


Authenticate = Callable[[str | None], Awaitable[Caller]]
"""Who calls, by the value of the `authorization` header. Raises Refused."""


class Ending(Protocol):
    """How one call ends on its transport."""

    @property
    def authorization(self) -> str | None:
        """The call's credentials, as its `authorization` metadata or header has them."""

    def code(self) -> str:
        """The code's name with which a call has ended whose servicer returned."""

    def code_of(self, error: Exception) -> str | None:
        """The code's name with which the transport itself ends a call by this error; None for a fault of ours.

        CANCELLED: the caller is gone, and what the servicer met then was that.
        """

    async def refuse(self, refused: Refused) -> Any:
        """Ends the call with the refusal. May raise what the transport wants raised."""


async def everybody(authorization: str | None) -> Caller:
    """For a server that knows no credentials."""
    del authorization
    return ANONYMOUS


class CallGuard:
    """Around every call of a server, whichever transport it came by."""

    def __init__(self, metrics: Metrics, drain: Drain, authenticate: Authenticate = everybody) -> None:
        self._metrics = metrics
        self._drain = drain
        self._authenticate = authenticate
        self._open_calls = 0
        self._begun_calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def open_calls(self) -> int:
        """Calls of our own services in progress; health and reflection do not count."""
        return self._open_calls

    async def idle(self) -> None:
        """Returns when no call of our own services is in progress."""
        await self._idle.wait()

    async def quiet(self, seconds: float) -> None:
        """Returns when for that long no call of our own services was in progress and none began."""
        begun = -1
        while begun != self._begun_calls:
            await self.idle()
            begun = self._begun_calls
            await asyncio.sleep(seconds)

    def method(self, method: str, *, streaming: bool) -> "GuardedMethod":
        """`method` is the full name of one that is served. Its metrics are shared by all transports."""
        metrics = self._metrics.for_method(method, streaming=streaming)
        return GuardedMethod(self, method, metrics, self._drain, self._authenticate, streaming=streaming)

    def opened(self) -> None:
        self._open_calls += 1
        self._begun_calls += 1
        self._idle.clear()

    def closed(self) -> None:
        self._open_calls -= 1
        if self._open_calls == 0:
            self._idle.set()


class GuardedMethod:
    """Runs the calls of one method."""

    def __init__(
        self,
        guard: CallGuard,
        method: str,
        metrics: CallMetrics,
        drain: Drain,
        authenticate: Authenticate,
        *,
        streaming: bool,
    ) -> None:
        self._guard = guard
        self._method = method
        self._metrics = metrics
        self._drain = drain
        self._authenticate = authenticate
        self._streaming = streaming
        self._own = method.startswith(OWN_SERVICES)

    async def run(self, call: Callable[[], Awaitable[Any]], ending: Ending) -> Any:
        """What `call` returns, or `refuse`. A fault of ours is logged, and refused with a reference to the log."""
        own = self._own
        self._metrics.started()
        if own:
            self._guard.opened()
        code = "OK"
        try:
            if own and self._drain.is_set:
                raise server_draining()
            response = await (self._as_caller(call, ending.authorization) if own else call())
            code = ending.code()
            return response
        except Refused as refused:
            code = status.CODES[refused.reason].name
            log.call_refused(method=self._method, reason=refused.reason, message=refused.message)
            return await ending.refuse(refused)
        except asyncio.CancelledError:
            code = "CANCELLED"
            raise
        except Exception as error:
            ended = ending.code_of(error)
            if ended is not None:
                code = ended
                raise
            code = "INTERNAL"
            reference = secrets.token_hex(8)
            log.call_failed(method=self._method, reference=reference, error=error)
            return await ending.refuse(_internal(reference))
        finally:
            if own:
                self._guard.closed()
            self._metrics.ended(code)

    async def _as_caller(self, call: Callable[[], Awaitable[Any]], authorization: str | None) -> Any:
        """For as long as the credentials are good."""
        try:
            caller = await self._authenticate(authorization)
        except Refused as refused:
            if refused.reason is not Reason.CREDENTIALS_MISSING or self._method != FOLLOW:
                raise
            # A browser's WebSocket cannot send any with the call; its targets have theirs, or are refused each.
            current_caller.set(UNKNOWN)
            return await call()
        current_caller.set(caller)
        with Leash(caller.standing):
            if not self._streaming:
                return await call()
            with caller.standing.subscribed():
                return await call()


def _internal(reference: str) -> Refused:
    return Refused(
        Reason.INTERNAL,
        f"a fault in the server; its log has more under reference {reference}",
        {"reference": reference},
    )
