"""The timers that a run has armed: each an operation, due at a time, fired by an entry alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType


class Timers:
    """Armed timers by operation."""

    def __init__(self) -> None:
        self._due_us: dict[int, int] = {}
        self._fire: dict[int, Callable[[], object]] = {}
        self.due_us: Mapping[int, int] = MappingProxyType(self._due_us)

    def arm(self, operation: int, due_us: int, fire: Callable[[], object]) -> None:
        self._due_us[operation] = due_us
        self._fire[operation] = fire

    def disarm(self, operation: int) -> None:
        """Harmless for one that has fired or was disarmed before."""
        if self._due_us.pop(operation, None) is not None:
            del self._fire[operation]

    def fire(self, operation: int) -> None:
        """The entry has come. Does nothing for a timer that is no longer armed."""
        fire = self._fire.get(operation)
        if fire is not None:
            self.disarm(operation)
            fire()
