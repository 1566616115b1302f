"""Which records of a stream are done with, and how far that may be acknowledged."""

from bisect import insort


class AckTracker:
    """Counts the uses of each record: a handler's call, or a receive that took it.

    A record is finished when every use of it is; the cursor moves only over a gap-free prefix of finished records. A
    use that came to nothing is released: a record that nobody used after all is unconsumed again.
    """

    def __init__(self, cursor: int = 0) -> None:
        self._cursor = cursor
        self._open_uses: dict[int, int] = {}
        self._used: set[int] = set()
        """Of these, those with a finished use."""
        self._finished_ahead: set[int] = set()
        self._gaps: list[tuple[int, int]] = []

    @property
    def cursor(self) -> int:
        """The seq through which every record is finished."""
        return self._cursor

    @property
    def open_count(self) -> int:
        """How many records are in use."""
        return len(self._open_uses)

    @property
    def beyond(self) -> list[tuple[int, int]]:
        """What is finished beyond the cursor: first and last seqs, in order, with others in between."""
        ranges: list[tuple[int, int]] = []
        for first_seq, last_seq in sorted([*self._gaps, *((seq, seq) for seq in self._finished_ahead)]):
            if ranges and first_seq <= ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], max(last_seq, ranges[-1][1]))
            else:
                ranges.append((first_seq, last_seq))
        return ranges

    def is_finished(self, seq: int) -> bool:
        """Whether nobody is to get the record any more."""
        return (
            seq <= self._cursor
            or seq in self._finished_ahead
            or any(first_seq <= seq <= last_seq for first_seq, last_seq in self._gaps)
        )

    def start_behind(self, cursor: int) -> None:
        """Begins behind a cursor that was set earlier, by another process for instance. Never moves back."""
        if cursor > self._cursor:
            self._move(cursor)
            self._advance()

    def skip(self, first_seq: int, last_seq: int) -> None:
        """These do not come: the cursor passes them as if they were finished."""
        if last_seq > self._cursor:
            insort(self._gaps, (first_seq, last_seq))
            self._advance()

    def use(self, seq: int) -> None:
        """One more handler or receive has the record. Each use ends with `finish` or `release`."""
        self._open_uses[seq] = self._open_uses.get(seq, 0) + 1

    def finish(self, seq: int) -> None:
        """A use has ended: the handler returned or its failure was noted, the receive's caller asked for more."""
        open_uses = self._open_uses.pop(seq) - 1
        if open_uses:
            self._open_uses[seq] = open_uses
            self._used.add(seq)
        else:
            self._settle(seq)

    def release(self, seq: int) -> bool:
        """A use came to nothing. True: it was the only one, so the record is unconsumed again."""
        open_uses = self._open_uses.pop(seq) - 1
        if open_uses:
            self._open_uses[seq] = open_uses
        elif seq in self._used:
            self._settle(seq)
        else:
            return True
        return False

    def _settle(self, seq: int) -> None:
        self._used.discard(seq)
        if seq == self._cursor + 1:
            self._cursor = seq
            self._advance()
        elif seq > self._cursor:
            self._finished_ahead.add(seq)

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
