"""ULIDs: 26 characters that sort by time, 48 bits of milliseconds and 80 random bits."""

import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [a + b for a in ALPHABET for b in ALPHABET]
_RANDOM_BITS: Final = 80


class UlidSource:
    """Makes ids that grow: within one millisecond, and when the clock goes backwards, each is the one before plus one.

    May be shared between threads.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._now_ms = now_ms
        self._random_bits = random_bits
        self._lock = threading.Lock()
        self._last_ms = -1
        self._last = 0
        self._prefix = ""  # of `_last`: all but the four characters that counting up changes
        self._prefix_of = -1

    def next(self) -> str:
        now_ms = self._now_ms()
        with self._lock:
            if now_ms > self._last_ms:
                self._last_ms = now_ms
                # One bit stays free, so that counting up cannot run over into the time.
                self._last = now_ms << _RANDOM_BITS | self._random_bits(_RANDOM_BITS - 1)
            else:
                self._last += 1
            number = self._last
            if number >> 20 != self._prefix_of:
                self._prefix_of = number >> 20
                self._prefix = encode(number)[:-4]
            return self._prefix + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]


def encode(number: int) -> str:
    """A 128-bit number as 26 characters of Crockford's base 32."""
    return "".join(_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10))


_source = UlidSource()


def new() -> str:
    """The next id of this process."""
    return _source.next()


def _forget_parent() -> None:
    # A forked child would go on counting where its parent does, and both would use the same keys.
    global _source
    _source = UlidSource()


os.register_at_fork(after_in_child=_forget_parent)
