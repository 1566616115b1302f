"""Children whose template has died: on Linux they become this process's own, to be reaped by it."""

import asyncio
import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_PAUSE_SECONDS: Final = 0.01
_UNKNOWN: Final = 255


def adopt_orphans() -> None:
    """From now on. Elsewhere than on Linux the system's first process adopts them."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_group(pid: int) -> None:
    """Kills a child that has not been reaped, and what its steps have started."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


async def reap_orphan(pid: int) -> int:
    """Waits for its end. The exit code as Python counts them; 255 where another process has reaped it."""
    while (code := _try_to_reap(pid)) is None:  # noqa: ASYNC110  # nothing announces the end of an orphan
        await asyncio.sleep(_PAUSE_SECONDS)
    return code


def _try_to_reap(pid: int) -> int | None:
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None if _exists(pid) else _UNKNOWN
    return os.waitstatus_to_exitcode(status) if reaped else None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
