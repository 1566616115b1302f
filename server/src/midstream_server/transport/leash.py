"""Ends a call when its credentials do."""

import asyncio
from dataclasses import replace
from types import TracebackType

from midstream_server.domain.errors import Refused
from midstream_server.domain.standing import Standing


class Leash:
    """`with Leash(standing):` the task is in the block while the credential is good; then Refused is raised."""

    __slots__ = ("_cancelling", "_refusal", "_standing", "_task")

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._refusal: Refused | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._standing.watch(self._end)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._standing.unwatch(self._end)
        if self._refusal is None:
            return
        # As asyncio.timeout does: where somebody else has cancelled the task too, that goes on.
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise replace(self._refusal) from None

    def _end(self, refusal: Refused) -> None:
        self._refusal = refusal
        self._task.cancel()
