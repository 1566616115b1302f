"""Handlers that raised, until the server has recorded them."""

import logging
from typing import Final

from midstream.v1.handler_failure_pb2 import HandlerFailure

_MAX_NAME: Final = 256
_MAX_MESSAGE: Final = 4_096
_log: Final = logging.getLogger("midstream")


class UnrecordedFailures:
    """A stream's handler failures that no acknowledgement has taken to the server yet."""

    def __init__(self, run_id: str, stream_id: str) -> None:
        self._run_id = run_id
        self._stream_id = stream_id
        self._failures: list[HandlerFailure] = []

    def add(self, seq: int, handler: str, error: BaseException) -> None:
        """Also writes it to the program's own log, with the traceback, which the server does not get."""
        _log.error(
            "handler %s raised on record %d of stream %s, run %s; delivery goes on",
            handler,
            seq,
            self._stream_id,
            self._run_id,
            exc_info=error,
        )
        self._failures.append(
            HandlerFailure(
                seq=seq,
                handler=handler[:_MAX_NAME],
                error_type=type(error).__name__[:_MAX_NAME],
                message=_text(error)[:_MAX_MESSAGE],
            )
        )

    def through(self, seq: int) -> list[HandlerFailure]:
        """What an acknowledgement through `seq` is to take along."""
        return [failure for failure in self._failures if failure.seq <= seq]

    def recorded(self, cursor: int) -> None:
        """An acknowledgement through here has arrived: the server has these failures."""
        if self._failures:
            self._failures = [failure for failure in self._failures if failure.seq > cursor]


def _text(error: BaseException) -> str:
    """The error's message as text that has a UTF-8 form, even where its own `__str__` raises."""
    try:
        text = str(error)
    except Exception:
        text = "(the error has no message: its __str__ raises)"
    return text.encode(errors="backslashreplace").decode()
