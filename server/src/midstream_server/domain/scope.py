"""Scopes: a right to do one thing with one run, or with one of its streams."""

from enum import StrEnum
from typing import NamedTuple

from midstream_server.domain.errors import field_invalid
from midstream_server.domain.names import check_name


class Action(StrEnum):
    """The names of `midstream.v1.Scope.Action`, without their prefix and in lower case."""

    SEND = "send"
    READ = "read"
    CANCEL = "cancel"


class Scope(NamedTuple):
    """`stream_id` empty: all of the run's streams."""

    action: Action
    run_id: str
    stream_id: str = ""

    def __str__(self) -> str:
        """As the claim `scope` has it: `send:run_x/user-message`."""
        return f"{self.action}:{self.run_id}" + (f"/{self.stream_id}" if self.stream_id else "")


def check_scope(path: str, scope: Scope) -> Scope:
    """Returns the scope if it is one. Raises Refused: FIELD_INVALID."""
    check_name(f"{path}.run_id", scope.run_id)
    if scope.stream_id:
        check_name(f"{path}.stream_id", scope.stream_id)
        if scope.action is Action.CANCEL:
            raise field_invalid(f"{path}.stream_id", f"is {scope.stream_id!r}; a run is cancelled as a whole")
    return scope


def read_scope(text: str) -> Scope:
    """The scope that `str` wrote. Raises ValueError, or Refused: FIELD_INVALID."""
    action, _, target = text.partition(":")
    run_id, slash, stream_id = target.partition("/")
    if slash and not stream_id:
        raise ValueError("a stream without a name")
    return check_scope("scope", Scope(Action(action), run_id, stream_id))
