"""Who follows each target of a Follow: whoever makes the call, or the holder of the target's own access token."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from midstream_server.domain.caller import Caller
from midstream_server.domain.errors import Refused
from midstream_server.domain.standing import Standing
from midstream_server.operations import Core
from midstream_server.operations.reader import Reader, Then
from midstream_server.transport.caller import current_caller


class FollowCallers:
    """Of one call of Follow, which counts as one subscription of each token that is used in it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._caller = current_caller.get()
        self._subscriptions = ExitStack()
        self._seen: set[Standing] = set()

    def __enter__(self) -> "FollowCallers":
        return self

    def __exit__(self, *_: object) -> None:
        self._subscriptions.close()

    async def of(self, access_token: str) -> Caller:
        """Whose the target is. Raises Refused."""
        caller = await self._core.gate.authenticate(f"Bearer {access_token}") if access_token else self._caller
        standing = caller.standing
        standing.check()
        if standing not in self._seen:
            standing.take(1, now_us=self._core.clock.now_us())
            if standing is not self._caller.standing:  # The call's own is counted with the call.
                self._subscriptions.enter_context(standing.subscribed())
            self._seen.add(standing)
        return caller

    def bound(self, reader: Reader[Any], caller: Caller) -> Reader[Any]:
        """The reader, which is over once the caller's credentials are no good any more."""
        return reader if caller is self._caller else _Bound(reader, caller.standing)


class _Bound:
    """A reader for as long as a credential is good."""

    def __init__(self, reader: Reader[Any], standing: Standing) -> None:
        self._reader = reader
        self._standing = standing

    async def look(self) -> tuple[Any, Then]:
        self._standing.check()
        return await self._reader.look()

    @contextmanager
    def watching(self, wake: Callable[[], None]) -> Iterator[None]:
        def ended(refusal: Refused) -> None:
            wake()

        self._standing.watch(ended)
        try:
            with self._reader.watching(wake):
                yield
        finally:
            self._standing.unwatch(ended)
