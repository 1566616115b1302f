"""Which records of a stream are done with, and how far that may be acknowledged."""

from bisect import insort
from dataclasses import dataclass


@dataclass(slots=True)
class _Uses:
    open: int = 0
    finished: int = 0


class AckTracker:
    """Counts the uses of each record: a handler's call, or a receive that took it.

    A record is finished when every use of it is; the cursor moves only over a gap-free prefix of finished records. A
    use that came to nothing is released: a record that nobody used after all is unconsumed again.
    """

    def __init__(self, cursor: int = 0) -> None:
        self._cursor = cursor
        self._uses: dict[int, _Uses] = {}
        self._finished_ahead: set[int] = set()
        self._gaps: list[tuple[int, int]] = []

    @property
    def cursor(self) -> int:
        """The seq through which every record is finished."""
        return self._cursor

    @property
    def open_count(self) -> int:
        """How many records are in use."""
        return len(self._uses)

    def start_behind(self, cursor: int) -> None:
        """Begins behind a cursor that was set earlier, by another process for instance. Never moves back."""
        if cursor > self._cursor:
            self._move(cursor)
            self._advance()

    def skip(self, first_seq: int, last_seq: int) -> None:
        """These were dropped: the cursor passes them as if they were finished."""
        if last_seq > self._cursor:
            insort(self._gaps, (first_seq, last_seq))
            self._advance()

    def use(self, seq: int) -> None:
        """One more handler or receive has the record. Each use ends with `finish` or `release`."""
        self._uses.setdefault(seq, _Uses()).open += 1

    def finish(self, seq: int) -> None:
        """A use has ended: the handler returned or its failure was noted, the receive's caller asked for more."""
        uses = self._uses[seq]
        uses.open -= 1
        uses.finished += 1
        self._settle(seq, uses)

    def release(self, seq: int) -> bool:
        """A use came to nothing. True: it was the only one, so the record is unconsumed again."""
        uses = self._uses[seq]
        uses.open -= 1
        if uses.open == 0 and uses.finished == 0:
            del self._uses[seq]
            return True
        self._settle(seq, uses)
        return False

    def _settle(self, seq: int, uses: _Uses) -> None:
        if uses.open == 0:
            del self._uses[seq]
            if seq > self._cursor:
                self._finished_ahead.add(seq)
                self._advance()

    def _advance(self) -> None:
        while True:
            if self._cursor + 1 in self._finished_ahead:
                self._cursor += 1
                self._finished_ahead.discard(self._cursor)
            elif self._gaps and self._gaps[0][0] <= self._cursor + 1:
                _, last_seq = self._gaps.pop(0)
                self._move(last_seq)
            else:
                return

    def _move(self, cursor: int) -> None:
        if cursor > self._cursor:
            self._cursor = cursor
            self._finished_ahead = {seq for seq in self._finished_ahead if seq > cursor}
