"""Frames that only the worker and its children exchange: calls that a run makes as steps, and their answers.

The contract's frames never begin with a zero byte, which is how these are told apart.
"""

from typing import Final

from google.rpc.status_pb2 import Status

from midstream.v1.run_service_pb2 import StartRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest
from midstream.worker.calls import Request

_MARK: Final = b"\x00"
_SEND, _START_RUN, _OK, _ERROR = b"s", b"r", b"+", b"-"
_NUMBER_BYTES: Final = 8


def is_local(frame: bytes) -> bool:
    return frame[:1] == _MARK


def call(number: int, request: Request) -> bytes:
    kind = _SEND if isinstance(request, SendOneRequest) else _START_RUN
    return _MARK + kind + number.to_bytes(_NUMBER_BYTES) + request.SerializeToString()


def parse_call(frame: bytes) -> tuple[int, Request]:
    message = SendOneRequest if frame[1:2] == _SEND else StartRunRequest
    return _number(frame), message.FromString(_body(frame))


def answer(number: int, response: bytes | Status) -> bytes:
    """A serialised response, or what went wrong."""
    kind, body = (_OK, response) if isinstance(response, bytes) else (_ERROR, response.SerializeToString())
    return b"".join((_MARK, kind, number.to_bytes(_NUMBER_BYTES), body))


def parse_answer(frame: bytes) -> tuple[int, bytes | Status]:
    body = _body(frame)
    return _number(frame), Status.FromString(body) if frame[1:2] == _ERROR else body


def _number(frame: bytes) -> int:
    return int.from_bytes(frame[2 : 2 + _NUMBER_BYTES])


def _body(frame: bytes) -> bytes:
    return frame[2 + _NUMBER_BYTES :]
