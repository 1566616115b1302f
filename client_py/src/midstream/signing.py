"""Signs access tokens without a call, with what the API key itself holds. Needs the extra `midstream[tokens]`.

The format is in proto/midstream/v1/access_token.proto.
"""

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from midstream import durations, ulid
from midstream.access import AccessToken, Scope, check_max_uses
from midstream.durations import Duration

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ISSUER: Final = "midstream.v1"
MAX_SCOPES: Final = 32
MAX_SUBJECT_BYTES: Final = 128
MAX_TTL_S: Final = 30 * 24 * 3_600
_INFO: Final = b"midstream.v1 access token"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_API_KEY: Final = re.compile(r"midstream_([a-z0-9]+)_[A-Za-z0-9_-]+\Z")


def sign_token(
    api_key: str,
    scopes: Iterable[Scope],
    *,
    subject: str = "",
    ttl: Duration = "1h",
    max_uses: int | None = None,
) -> AccessToken:
    """Makes an access token as `Client.mint_token` does, without asking the server.

    It is worth as much as the key: revoking the key revokes it. `ttl` is 1 s to 30 days; the server's clock decides.
    Raises ValueError for what the server would refuse, ImportError without `midstream[tokens]`.
    """
    jwt = _library()
    claims = _claims(list(scopes), subject, ttl, max_uses)
    token: str = jwt.encode(claims, signing_key(api_key), algorithm="EdDSA", headers={"kid": key_id(api_key)})
    return AccessToken(token, claims["jti"], datetime.fromtimestamp(claims["exp"], UTC))


def key_id(api_key: str) -> str:
    """The part of an API key that is no secret. Raises ValueError, without the key in it, for something else."""
    match = _API_KEY.match(api_key)
    if match is None:
        raise ValueError("this is no API key: one begins with midstream_, and `midstream-server keys create` makes it")
    return match[1]


def signing_key(api_key: str) -> "Ed25519PrivateKey":
    """The key pair that belongs to an API key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(api_key.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def _claims(scopes: list[Scope], subject: str, ttl: Duration, max_uses: int | None) -> dict[str, Any]:
    if not 1 <= len(scopes) <= MAX_SCOPES:
        raise ValueError(f"a token has 1 to {MAX_SCOPES} scopes, not {len(scopes)}")
    for scope in scopes:
        _check(scope)
    if len(subject.encode()) > MAX_SUBJECT_BYTES:
        raise ValueError(f"the subject has {len(subject.encode())} bytes, the limit is {MAX_SUBJECT_BYTES}")
    ttl_s = durations.parse(ttl) // 1_000_000
    if not 1 <= ttl_s <= MAX_TTL_S:
        raise ValueError(f"ttl is 1 s to 30 days, not {ttl!r}")
    now_s = int(time.time())
    claims = {
        "iss": ISSUER,
        "jti": ulid.new(),
        "sub": subject,
        "scope": " ".join(map(str, scopes)),
        "iat": now_s,
        "exp": now_s + ttl_s,
    }
    return claims if check_max_uses(max_uses) is None else {**claims, "uses": max_uses}


def _check(scope: Scope) -> None:
    if not _NAME.match(scope.run_id):
        raise ValueError(f"the scope {str(scope)!r} names no run: write can_{scope.action}(run.id)")
    if scope.stream_id and (scope.action == "cancel" or not _NAME.match(scope.stream_id)):
        raise ValueError(f"the scope {str(scope)!r} has a stream that cannot be")


def _library() -> Any:
    try:
        import cryptography  # noqa: F401
        import jwt
    except ImportError as missing:
        raise ImportError(
            "signing tokens needs two more libraries: pip install 'midstream[tokens]', or use Client.mint_token"
        ) from missing
    return jwt
