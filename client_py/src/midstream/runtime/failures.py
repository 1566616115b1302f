"""Errors as the log and the run keep them."""

import traceback
from typing import Final

from midstream.v1.handler_failure_pb2 import HandlerFailure
from midstream.v1.run_pb2 import Failure

_MAX_NAME: Final = 256
_MAX_MESSAGE: Final = 4_096
_MAX_STACK: Final = 65_536


def failure_of(error: BaseException) -> Failure:
    """The error's type, message and stack."""
    return Failure(
        error_type=type(error).__name__[:_MAX_NAME],
        message=_message(error),
        # The end of a stack tells more than its beginning.
        stack=_utf8("".join(traceback.format_exception(error)))[-_MAX_STACK:],
    )


def handler_failure_of(stream_id: str, seq: int, handler: str, error: BaseException) -> HandlerFailure:
    return HandlerFailure(
        stream_id=stream_id,
        seq=seq,
        handler=_utf8(handler)[:_MAX_NAME],
        error_type=type(error).__name__[:_MAX_NAME],
        message=_message(error),
    )


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(the error has no message: its __str__ raises)"
    return _utf8(text)[:_MAX_MESSAGE]


def _utf8(text: str) -> str:
    """Half a surrogate pair has no UTF-8 form."""
    return text.encode(errors="backslashreplace").decode()
