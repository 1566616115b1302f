"""What the server needs of a store for credentials, beside `Store`: see there for how calls behave.

API keys and revoked tokens may be changed by other processes too. Each change gets a number that is greater than every
one before it, so that a server that asks for what came after the last one it saw misses nothing.
"""

from typing import NamedTuple, Protocol

from midstream_server.domain.api_key import ApiKey


class KeyChanges(NamedTuple):
    """API keys as they are now. `through`: the number of the newest change."""

    keys: list[ApiKey]
    through: int


class Revocations(NamedTuple):
    """Revoked tokens, each as (namespace, token id). `through`: the number of the newest change."""

    tokens: list[tuple[str, str]]
    through: int


class CredentialStore(Protocol):
    """See the module. Token ids belong to a namespace."""

    async def add_key(self, key: ApiKey) -> None:
        """Keeps a new API key."""
        ...

    async def revoke_key(self, key_id: str, *, now_us: int) -> bool:
        """False where there is no such key. A key that is revoked already stays so, since when it was."""
        ...

    async def key_changes(self, *, after: int) -> KeyChanges:
        """The keys that were added or revoked after a change; all of them after 0, the oldest first."""
        ...

    async def revoke_token(self, namespace: str, token_id: str, *, forget_us: int, now_us: int) -> None:
        """Revokes a token, until `forget_us`. Repeated, it is kept for the longer of the times."""
        ...

    async def token_revoked(self, namespace: str, token_id: str) -> bool: ...

    async def revocations(self, *, after: int) -> Revocations:
        """The tokens that were revoked after a change."""
        ...

    async def server_seed(self, proposed: bytes) -> bytes:
        """The seed of the server's own key: the first that was ever proposed."""
        ...
