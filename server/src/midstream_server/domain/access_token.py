"""Access tokens: signing them, and judging them. The claims are those of `access_token.proto`."""

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from midstream_server.domain.credential_errors import credentials_invalid, scope_missing, token_expired
from midstream_server.domain.errors import Refused, field_invalid, run_not_found
from midstream_server.domain.scope import Action, Scope, check_scope, read_scope

if TYPE_CHECKING:  # the oldest PyJWT that will do does not have it
    from jwt.types import Options

ISSUER = "midstream.v1"
ALGORITHM = "EdDSA"
SECOND_US = 1_000_000
MAX_TTL_US = 30 * 24 * 3600 * SECOND_US
DEFAULT_TTL_US = 3600 * SECOND_US
SKEW_US = 300 * SECOND_US
"""How far a backend's clock may be ahead of the server's."""
AFTER_END_US = 3600 * SECOND_US
"""How long a token is good for reading a run that has ended."""
MAX_TOKEN_BYTES = 16 * 1024
MAX_SCOPES = 32
SUBJECT_BYTES = 128
TOKEN_ID_BYTES = 64
MAX_USES = 2**31 - 1
_LAST_SECOND = 253_402_300_799  # The end of the year 9999, where timestamps end.

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_CHECKED_HERE: "Options" = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_UNREADABLE = "the access token is malformed or forged, or signed with a key that is unknown or revoked"


class Uses(NamedTuple):
    """A token that counts the records sent with it. `forget_us`: when the count is of no more use."""

    token_id: str
    max_uses: int
    forget_us: int


class TokenGrant(NamedTuple):
    """What a token allows. Times are microseconds since the epoch."""

    token_id: str
    subject: str
    scopes: tuple[Scope, ...]
    expires_us: int
    max_uses: int
    """0: any number."""

    @property
    def uses(self) -> Uses | None:
        return Uses(self.token_id, self.max_uses, self.expires_us) if self.max_uses else None

    def names(self, run_id: str) -> bool:
        return any(scope.run_id == run_id for scope in self.scopes)

    def check(self, action: Action, run_id: str, stream_id: str, *, any_stream: bool = False) -> None:
        """With `any_stream`, a scope on one of the run's streams will do. Raises Refused.

        A run that the token does not name looks as if it did not exist.
        """
        for scope in self.scopes:
            fits = any_stream or not scope.stream_id or scope.stream_id == stream_id
            if fits and scope.action is action and scope.run_id == run_id:
                return
        if not self.names(run_id):
            raise run_not_found(run_id)
        raise scope_missing(str(Scope(action, run_id, stream_id)))

    def readable(self, run_id: str) -> frozenset[str] | None:
        """The streams of a run that the token may read; None for all of them, and all the rest of the run."""
        streams = {scope.stream_id for scope in self.scopes if scope.action is Action.READ and scope.run_id == run_id}
        return None if "" in streams else frozenset(streams)


class TokenSpec(NamedTuple):
    """What a new token is to allow."""

    scopes: tuple[Scope, ...]
    subject: str = ""
    ttl_us: int = DEFAULT_TTL_US
    max_uses: int = 0


def check_spec(path: str, spec: TokenSpec) -> TokenSpec:
    """Returns the spec if a token can be made from it. Raises Refused: FIELD_INVALID."""
    if not 1 <= len(spec.scopes) <= MAX_SCOPES:
        raise field_invalid(f"{path}.scopes", f"has {len(spec.scopes)}, must have 1 to {MAX_SCOPES}")
    for index, scope in enumerate(spec.scopes):
        check_scope(f"{path}.scopes[{index}]", scope)
    if len(spec.subject.encode()) > SUBJECT_BYTES:
        raise field_invalid(f"{path}.subject", f"has over {SUBJECT_BYTES} bytes")
    if "\0" in spec.subject:
        raise field_invalid(f"{path}.subject", "contains a NUL character")
    if not SECOND_US <= spec.ttl_us <= MAX_TTL_US:
        raise field_invalid(f"{path}.ttl", f"is {spec.ttl_us / 1e6:g} s, must be 1 s to 30 days")
    if not 0 <= spec.max_uses <= MAX_USES:
        raise field_invalid(f"{path}.max_uses", f"is {spec.max_uses}, must be 0 to {MAX_USES:,}")
    return spec


def sign(spec: TokenSpec, key: Ed25519PrivateKey, *, key_id: str, token_id: str, now_us: int) -> tuple[str, int]:
    """The token's text, and when it expires: whole seconds, and never before its time, in microseconds."""
    expires = -(-(now_us + spec.ttl_us) // SECOND_US)
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "jti": token_id,
        "sub": spec.subject,
        "scope": " ".join(map(str, spec.scopes)),
        "iat": now_us // SECOND_US,
        "exp": expires,
    }
    if spec.max_uses:
        claims["uses"] = spec.max_uses
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id}), expires * SECOND_US


def key_id_of(token: str) -> str:
    """The id of the key that a token says it is signed with. Nothing of it is checked yet. Raises Refused."""
    if len(token) > MAX_TOKEN_BYTES or _SHAPE.fullmatch(token) is None or not _canonical(token.rpartition(".")[2]):
        raise credentials_invalid(_UNREADABLE)
    try:
        key_id: Any = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise credentials_invalid(_UNREADABLE) from None
    if not isinstance(key_id, str):
        raise credentials_invalid(_UNREADABLE)
    return key_id


def verify(token: str, public_key: Ed25519PublicKey, *, now_us: int) -> TokenGrant:
    """What the token allows, once its signature and its claims are found right.

    Raises Refused: CREDENTIALS_INVALID, or TOKEN_EXPIRED for one that is right but for that.
    """
    key_id_of(token)
    try:
        claims: Any = jwt.decode(token, public_key, algorithms=[ALGORITHM], options=_CHECKED_HERE)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise credentials_invalid(_UNREADABLE) from None
    grant = _read_claims(claims, now_us)
    check_time(grant, now_us=now_us)
    return grant


def check_time(grant: TokenGrant, *, now_us: int) -> None:
    """Raises Refused: TOKEN_EXPIRED."""
    if grant.expires_us <= now_us:
        shown = datetime.fromtimestamp(grant.expires_us // SECOND_US, UTC).isoformat().replace("+00:00", "Z")
        raise token_expired(shown)


def unknown_signer() -> Refused:
    """For a token whose key is not there, or not any more: it reads as if it were forged."""
    return credentials_invalid(_UNREADABLE)


def _read_claims(claims: dict[str, Any], now_us: int) -> TokenGrant:
    if claims.get("iss") != ISSUER:
        raise _wrong("iss")
    issued, expires = _second(claims, "iat"), _second(claims, "exp")
    # A token that was made within a second and expires with one has that much more.
    if not issued < expires or (expires - issued - 1) * SECOND_US > MAX_TTL_US:
        raise _wrong("exp")
    if issued * SECOND_US > now_us + SKEW_US:
        raise _wrong("iat")
    uses = claims.get("uses")
    if "uses" in claims and (type(uses) is not int or not 1 <= uses <= MAX_USES):
        raise _wrong("uses")
    return TokenGrant(
        token_id=_text(claims, "jti", 1, TOKEN_ID_BYTES),
        subject=_text(claims, "sub", 0, SUBJECT_BYTES) if "sub" in claims else "",
        scopes=_scopes(claims.get("scope")),
        expires_us=expires * SECOND_US,
        max_uses=uses or 0,
    )


def _second(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 < value <= _LAST_SECOND:
        raise _wrong(name)
    return value


def _text(claims: dict[str, Any], name: str, least: int, most: int) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise _wrong(name)
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise _wrong(name) from None
    if not least <= length <= most or "\0" in value:
        raise _wrong(name)
    return value


def _scopes(value: Any) -> tuple[Scope, ...]:
    parts = value.split(" ") if isinstance(value, str) else []
    if not 1 <= len(parts) <= MAX_SCOPES:
        raise _wrong("scope")
    try:
        return tuple(read_scope(part) for part in parts)
    except (ValueError, Refused):
        raise _wrong("scope") from None


def _wrong(claim: str) -> Refused:
    return credentials_invalid(f"the access token's claim {claim!r} is missing or not as the contract has it")


def _canonical(part: str) -> bool:
    """One token has one text: spare bits at the end of the signature would make others of it."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return False
    return base64.urlsafe_b64encode(data).decode().rstrip("=") == part
