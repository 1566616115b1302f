"""MintToken and RevokeToken: access tokens for frontends."""

from typing import NamedTuple

from midstream import ulid
from midstream_server.domain.access_token import (
    MAX_TTL_US,
    SKEW_US,
    TOKEN_ID_BYTES,
    TokenSpec,
    check_spec,
    sign,
)
from midstream_server.domain.caller import Caller
from midstream_server.domain.errors import field_invalid
from midstream_server.operations.core import Core

_LONGEST_US = MAX_TTL_US + 2 * SKEW_US


class Minted(NamedTuple):
    """A token. Its text is a secret; `expires_us` is in microseconds since the epoch."""

    text: str
    token_id: str
    expires_us: int

    def __repr__(self) -> str:
        return f"Minted({self.token_id!r})"


def mint_token(core: Core, caller: Caller, spec: TokenSpec, *, path: str = "spec") -> Minted:
    """Signs a token with the caller's API key; nothing is stored. Raises Refused: SCOPE_MISSING, FIELD_INVALID."""
    signer = core.gate.signer(caller)
    token_id = ulid.new()
    text, expires_us = sign(
        check_spec(path, spec), signer.key, key_id=signer.key_id, token_id=token_id, now_us=core.clock.now_us()
    )
    return Minted(text, token_id, expires_us)


async def revoke_token(core: Core, caller: Caller, token_id: str, *, expires_us: int | None) -> None:
    """Durable when it returns. Raises Refused: SCOPE_MISSING, FIELD_INVALID."""
    caller.check_backend()
    if not 1 <= len(token_id.encode()) <= TOKEN_ID_BYTES or "\0" in token_id:
        raise field_invalid("token_id", f"is required: 1 to {TOKEN_ID_BYTES} bytes, the token's own id (`jti`)")
    latest_us = core.clock.now_us() + _LONGEST_US
    forget_us = latest_us if expires_us is None else min(expires_us, latest_us)
    await core.gate.revoke_token(caller.namespace, token_id, forget_us=forget_us)
