"""What is read on from a position: a run's records or its state, by a call of its own or by Follow among others."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum, auto
from typing import Protocol, TypeVar

News = TypeVar("News", covariant=True)


class Then(Enum):
    """What to do after a look."""

    LOOK_AGAIN = auto()
    WAIT = auto()
    """Until the reader's watch rings."""
    END = auto()
    """There is nothing more to come."""


class Reader(Protocol[News]):
    """Looks at the store; keeps its own position."""

    async def look(self) -> tuple[News | None, Then]:
        """What is new, if anything. Raises Refused."""

    def watching(self, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Calls `wake` whenever there may be news. Begin before the first look."""
