"""What an access token allows, said so that it reads well: `can_send(run.id, approval)`, `can_read(run.id)`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Self

from midstream import durations
from midstream.durations import Duration
from midstream.streams import Stream, stream_id_of
from midstream.timestamps import to_datetime
from midstream.v1 import access_token_pb2 as pb

_ACTIONS: Final = {
    "send": pb.Scope.ACTION_SEND,
    "read": pb.Scope.ACTION_READ,
    "cancel": pb.Scope.ACTION_CANCEL,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """A right to do one thing with one run, or with one of its streams. Made by `can_send`, `can_read`, `can_cancel`.

    An empty `run_id` is the run that is being started.
    """

    action: Literal["send", "read", "cancel"]
    run_id: str = ""
    stream_id: str = ""

    def __str__(self) -> str:
        """As it stands in a token: `send:run_x/user-message`."""
        return f"{self.action}:{self.run_id}" + (f"/{self.stream_id}" if self.stream_id else "")


def can_send(run_id: str = "", stream: Stream | None = None) -> Scope:
    """May send records to the run: to this stream, or to all of them. Ends with the run."""
    return Scope("send", run_id, _id(stream))


def can_read(run_id: str = "", stream: Stream | None = None) -> Scope:
    """May see the run and its records; with a stream, only that stream's, and of the run no payload and no result."""
    return Scope("read", run_id, _id(stream))


def can_cancel(run_id: str = "") -> Scope:
    """May ask the run to stop. Ends with the run."""
    return Scope("cancel", run_id)


@dataclass(frozen=True, slots=True)
class Access:
    """A token to make together with a run: in `scopes`, leave the run id out."""

    scopes: Iterable[Scope]
    subject: str = ""
    ttl: Duration = "1h"
    max_uses: int | None = None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for a frontend. `token` is secret, and not in the repr; `token_id` names it for `revoke_token`."""

    token: str = field(repr=False)
    token_id: str
    expire_time: datetime

    @classmethod
    def from_proto(cls, token: pb.AccessToken) -> Self:
        return cls(token.token, token.token_id, to_datetime(token.expire_time))


def token_spec(scopes: Iterable[Scope], subject: str, ttl: Duration, max_uses: int | None) -> pb.AccessTokenSpec:
    """The request for such a token. Raises ValueError for a ttl that makes no sense."""
    spec = pb.AccessTokenSpec(subject=subject, max_uses=check_max_uses(max_uses) or 0)
    for scope in scopes:
        spec.scopes.add(action=_ACTIONS[scope.action], run_id=scope.run_id, stream_id=scope.stream_id)
    spec.ttl.FromMicroseconds(durations.parse(ttl))
    return spec


def check_max_uses(max_uses: int | None) -> int | None:
    """Raises ValueError for 0, which on the wire would mean: any number."""
    if max_uses is not None and max_uses < 1:
        raise ValueError(f"max_uses is how many records can be sent, 1 or more, not {max_uses}; None: any number")
    return max_uses


def _id(stream: Stream | None) -> str:
    return "" if stream is None else stream_id_of(stream)
