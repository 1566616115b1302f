"""Who makes a call, and what they may do."""

from dataclasses import dataclass, field
from enum import StrEnum

from midstream_server.domain.access_token import TokenGrant
from midstream_server.domain.credential_errors import api_key_needed
from midstream_server.domain.errors import run_not_found
from midstream_server.domain.scope import Action
from midstream_server.domain.standing import Standing

DEFAULT_NAMESPACE = "default"


class SenderKind(StrEnum):
    """The names of `midstream.v1.Sender.Kind`, without their prefix."""

    ANONYMOUS = "ANONYMOUS"
    API_KEY = "API_KEY"
    ACCESS_TOKEN = "ACCESS_TOKEN"
    RUN = "RUN"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and the namespace in which everything that the call does stays.

    `token`: what the call's access token allows; None where an API key, or an open server, allows everything.
    """

    namespace: str
    kind: SenderKind
    subject: str
    token: TokenGrant | None = None
    standing: Standing = field(default_factory=Standing, compare=False, repr=False)
    key_id: str = ""
    """The API key that the caller has, or that signed its token."""

    def check(self, action: Action, run_id: str, stream_id: str = "", *, any_stream: bool = False) -> None:
        """Refuses what the caller's access token does not allow. No `stream_id`: the run as a whole.

        With `any_stream`, a scope on one of the run's streams is enough. Raises Refused: SCOPE_MISSING, or
        RUN_NOT_FOUND where the token does not name the run at all.
        """
        if self.token is not None:
            self.token.check(action, run_id, stream_id, any_stream=any_stream)

    def check_backend(self, run_id: str = "") -> None:
        """Refuses every access token. Raises Refused: SCOPE_MISSING, or RUN_NOT_FOUND as `check` does."""
        if self.token is not None:
            if run_id and not self.token.names(run_id):
                raise run_not_found(run_id)
            raise api_key_needed()

    def readable_streams(self, run_id: str) -> frozenset[str] | None:
        """The streams of the run that the caller may read; None: all, and the rest of the run."""
        return None if self.token is None else self.token.readable(run_id)
