"""Output records: who appends them, which ones were stored before, and which ones count no more."""

from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

from midstream_server.domain.record import Draft

OUTSIDE = -1
"""Stands for the operation of what is appended outside of steps: one writer for all, placed by their operations."""

MAX_RANGES = 1_000
"""In one mark, so that it stays small; more make another mark."""

Range = tuple[int, int]
"""The first and the last of some seqs without gaps."""


class OutputDraft(NamedTuple):
    """An output record of a managed run that waits for its place on a stream.

    `operation` appends it, or is the step whose `attempt` (from 1; 0: outside of steps) does so as its `place`th (from
    0). They come in order, so one that is not behind the last one was stored before.
    """

    stream_id: str
    draft: Draft
    operation: int
    attempt: int
    place: int

    @property
    def writer(self) -> int:
        return OUTSIDE if self.attempt == 0 else self.operation

    def turn(self, epoch: int) -> "Turn":
        """Its writer's turn. A replay of what is outside of steps says the same again, whatever the epoch."""
        return Turn(0, 0) if self.attempt == 0 else Turn(epoch, self.attempt)

    @property
    def place_of_writer(self) -> int:
        return self.operation if self.attempt == 0 else self.place


class Turn(NamedTuple):
    """An attempt of a step, under an epoch. A later one is greater."""

    epoch: int
    attempt: int


class Writer(NamedTuple):
    """Whose turn it is, and how many places it has filled."""

    turn: Turn
    places: int


class Standing(Enum):
    """How something that a writer says stands to what is stored."""

    NEW = auto()
    AGAIN = auto()
    """It was stored before, or an earlier attempt says it, which does not count any more."""
    SUPERSEDES = auto()
    """The step runs again: what it has appended before does not count any more."""


def standing(known: Writer | None, turn: Turn, place: int) -> Standing:
    if known is None:
        return Standing.NEW
    if turn > known.turn:
        return Standing.SUPERSEDES
    return Standing.NEW if turn == known.turn and place >= known.places else Standing.AGAIN


def marks(ranges: Iterable[Range]) -> list[list[Range]]:
    """The ranges, ascending, in as many groups as marks are needed."""
    ascending = sorted(ranges)
    return [ascending[start : start + MAX_RANGES] for start in range(0, len(ascending), MAX_RANGES)]
