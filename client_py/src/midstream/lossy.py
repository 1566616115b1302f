"""Where log lines go."""

import os
from contextlib import suppress
from typing import TextIO


class LossyStream:
    """Writes to a stream; loses what that cannot take, since what the lines are about matters more than the lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._try(text)
        return len(text)

    def flush(self) -> None:
        self._try("")

    def _try(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            # Nobody will ever read it: the stream's buffer would be tried again, and fail, when the process ends.
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
        except OSError:
            pass  # such as a full disk, which may have room again
