"""Notices when this process did not run: stopped, starved of its processor, or frozen with its virtual machine."""

import time
from collections.abc import Callable, Sequence

Tick = Callable[[], int]
"""Nanoseconds of a clock that goes on while a process is paused."""

# A frozen machine's own clock stands still and its wall clock jumps; a stopped process sees both go on.
_CLOCKS: Sequence[Tick] = (time.monotonic_ns, time.time_ns)


class Pauses:
    """Judges by the system's clocks, whatever clock the server was given: a test that moves time pauses nobody."""

    def __init__(self, tolerated_us: int, *, clocks: Sequence[Tick] = _CLOCKS) -> None:
        self._tolerated_ns = tolerated_us * 1_000
        self._clocks = clocks
        self._last = self._now()

    def noticed(self) -> bool:
        """Whether more than the tolerated time has passed since the last call of this."""
        before, self._last = self._last, self._now()
        return any(now - then > self._tolerated_ns for then, now in zip(before, self._last, strict=True))

    def _now(self) -> list[int]:
        return [clock() for clock in self._clocks]
