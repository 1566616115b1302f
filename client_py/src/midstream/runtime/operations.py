"""The operations that a task issued, numbered and hashed, so that a replay can tell whether it does the same."""

from bisect import bisect_right
from functools import lru_cache
from typing import Final, Literal, NoReturn
from zlib import crc32

from midstream.runtime.errors import Diverged
from midstream.v1.entry_pb2 import Checkpoint

Kind = Literal["drain", "on", "once", "output", "send", "start_run", "step", "timer", "wait", "wait_any"]

_FNV_PRIME: Final = 0x100000001B3
_FNV_START: Final = 0xCBF29CE484222325
_64_BITS: Final = 0xFFFFFFFFFFFFFFFF
_HASH_BYTES: Final = 8
_MAX_LABEL_BYTES: Final = 160
_SHOWN: Final = 5


@lru_cache(maxsize=4096)
def _label(kind: str, name: str) -> tuple[str, int]:
    label = f"{kind} {name!r}" if name else kind
    return label, crc32(label.encode(errors="backslashreplace"))


class Operations:
    """Counts from 0 in each generation.

    The hash is over kinds and names, in order. In a checkpoint the last operation's own label follows it: a hash alone
    could tell a person nothing about the other side.
    """

    def __init__(self) -> None:
        self._labels: list[str] = []
        self._hash = _FNV_START
        # Where the count changed: offsets, and what held from there on.
        self._offsets: list[int] = [0]
        self._marks: list[tuple[int, int]] = [(0, _FNV_START)]
        self._to_check: list[Checkpoint] = []
        self._agreed = (0, 0)
        self._ended_at: int | None = None

    @property
    def count(self) -> int:
        return len(self._labels)

    @property
    def hash(self) -> bytes:
        label = self._labels[-1] if self._labels else ""
        return self._hash.to_bytes(_HASH_BYTES) + label.encode(errors="backslashreplace")[:_MAX_LABEL_BYTES]

    def issue(self, kind: Kind, name: str = "") -> int:
        """The next operation's number."""
        label, checksum = _label(kind, name)
        self._labels.append(label)
        self._hash = (self._hash ^ checksum) * _FNV_PRIME & _64_BITS
        return len(self._labels) - 1

    def turn_ended(self, offset: int) -> None:
        """Every operation until now was issued by the turns through `offset`. Raises Diverged."""
        count = len(self._labels)
        if count != self._marks[-1][0]:
            self._offsets.append(offset)
            self._marks.append((count, self._hash))
        if self._to_check:
            due = [each for each in self._to_check if each.applied_offset <= offset]
            self._to_check = [each for each in self._to_check if each.applied_offset > offset]
            for checkpoint in due:
                self._compare(checkpoint)

    def check(self, checkpoint: Checkpoint, *, applied_offset: int) -> None:
        """Compares, now or when the turn of that offset has ended. Raises Diverged."""
        if checkpoint.applied_offset > applied_offset:
            self._to_check.append(checkpoint)
        else:
            self._compare(checkpoint)

    def function_ended(self, offset: int) -> None:
        """The function ended in this offset's turn. Raises Diverged where the log knows it alive at a later one."""
        self._ended_at = offset
        self.turn_ended(offset)
        for checkpoint in self._to_check:
            self._raise_diverged(checkpoint, self.count)

    def expect(self, operation: int, kinds: tuple[str, ...], what: str, *, offset: int) -> None:
        """An entry is about this operation. Raises Diverged where the code's operation is none of `kinds`."""
        if operation < len(self._labels) and self._labels[operation].startswith(kinds):
            return
        issued = (
            f"operation {operation} is {self._labels[operation]}" if operation < self.count else self._told(self.count)
        )
        raise Diverged(offset, f"operation {operation} is a {what}", issued)

    def _compare(self, checkpoint: Checkpoint) -> None:
        index = bisect_right(self._offsets, checkpoint.applied_offset) - 1
        count, hash = self._marks[index]
        theirs = int.from_bytes(checkpoint.operations_hash[:_HASH_BYTES])
        if checkpoint.operations == count and (theirs == hash or not checkpoint.operations_hash):
            self._agreed = max(self._agreed, (checkpoint.applied_offset, count))
            return
        self._raise_diverged(checkpoint, count)

    def _raise_diverged(self, checkpoint: Checkpoint, count: int) -> NoReturn:
        agreed_offset, agreed = self._agreed
        issued = f"{self._told(count)}. Both agree through offset {agreed_offset}; then this code issued: "
        issued += self._list(agreed, count) or "nothing"
        if self._ended_at is not None:
            issued += f"; and its function ended at offset {self._ended_at}"
        expected = f"{checkpoint.operations} operations by then: {_last_of(checkpoint)}"
        raise Diverged(checkpoint.applied_offset, expected, issued)

    def _told(self, count: int) -> str:
        if not count:
            return "no operation"
        return f"{count} operations, the last of them number {count - 1}, {self._labels[count - 1]}"

    def _list(self, first: int, end: int) -> str:
        shown = ", ".join(f"{number} {self._labels[number]}" for number in range(first, min(end, first + _SHOWN)))
        return f"{shown}, ..." if end > first + _SHOWN else shown


def _last_of(checkpoint: Checkpoint) -> str:
    if not checkpoint.operations:
        return "none"
    label = checkpoint.operations_hash[_HASH_BYTES:].decode(errors="replace") or "unknown"
    return f"the last of them number {checkpoint.operations - 1}, {label}"
