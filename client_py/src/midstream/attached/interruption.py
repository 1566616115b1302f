"""Cancelling the task that runs a block from outside, in the way of `asyncio.timeout`."""

import asyncio


class Interruption:
    """At most one error interrupts the block; a cancellation from elsewhere stays one."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.left = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cancelled = False

    def enter(self) -> None:
        """The current task enters the block."""
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a run is attached within a task")
        self._cancelling = self._task.cancelling()

    def interrupt(self, error: Exception) -> None:
        """Cancels the block, unless it has been left or is being interrupted already."""
        if self.error is None:
            self.error = error
            # Later, since a pending receive that raises the error itself is the better way out of the block.
            asyncio.get_running_loop().call_soon(self._cancel)

    def leave(self, error: BaseException | None) -> Exception | None:
        """The block ended with `error`, or None. Returns what it must raise in place of that, or None."""
        self.left = True
        if self._cancelled and self._task is not None:
            cancelled_elsewhere = self._task.uncancel() > self._cancelling
            if isinstance(error, asyncio.CancelledError) and not cancelled_elsewhere:
                return self.error
        return None

    def _cancel(self) -> None:
        if not self.left and self._task is not None:
            self._cancelled = True
            self._task.cancel()
