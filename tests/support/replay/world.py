"""What is outside a run, and what its lives have done there."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from midstream.v1.run_pb2 import Outcome


class Life:
    """The task's memory in one process: what it saw, in order."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.seen: list[Any] = []
        self.seen_at: list[int] = []
        """The offset at which it saw each."""
        self.applied_offset: Callable[[], int] = lambda: 0
        self.over = False

    def see(self, *what: Any) -> None:
        if not self.over:
            self.seen.append(what)
            self.seen_at.append(self.applied_offset())


class World:
    """Shared by all lives of a run."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.life = Life(0)
        self.ran: Counter[str] = Counter()
        self.at_most_once: set[str] = set()
        self.delivered: dict[str, tuple[int, str]] = {}
        self.raw: dict[str, Any] = {}
        self.finishes: list[Outcome | None] = []
        self.entries_applied = 0
        self.aborted = 0
        self.reconnects = 0
        self.kills = 0
        self.executions: Counter[str] = Counter()

    def new_life(self, generation: int) -> Life:
        self.lives.append(Life(generation))
        return self.lives[-1]

    @contextmanager
    def living(self, life: Life) -> Iterator[None]:
        """The task's code runs in this life."""
        before, self.life = self.life, life
        try:
            yield
        finally:
            self.life = before

    def __deepcopy__(self, memo: object) -> "World":
        """There is one, also for a step that gets copies of its arguments."""
        return self

    def new_execution(self, key: str) -> int:
        """From 1, of a step, whatever becomes of it."""
        self.executions[key] += 1
        return self.executions[key]

    def began(self, key: str, *, at_most_once: bool) -> None:
        self.ran[key] += 1
        if at_most_once:
            self.at_most_once.add(key)

    def deliver(self, key: str, value: str) -> int:
        """A record for another run: stored once, whatever is repeated."""
        seq, stored = self.delivered.setdefault(key, (len(self.delivered) + 1, value))
        assert stored == value, f"key {key} carries {value} after {stored}"
        return seq
