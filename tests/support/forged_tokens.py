"""Access tokens with any header and any claims, as the contract has them but for what a test changes."""

import base64
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from midstream import ulid
from midstream.signing import key_id, signing_key


def claims(run_id: str, **changes: Any) -> dict[str, Any]:
    """May read the run. A change to None leaves the claim out."""
    now = int(time.time())
    whole = {
        "iss": "midstream.v1",
        "jti": ulid.new(),
        "sub": "user",
        "scope": f"read:{run_id}",
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(api_key: str, claims: dict[str, Any], *, by: Ed25519PrivateKey | None = None, **header: Any) -> str:
    """Signed with the key pair of the API key, or another one. A header of None is left out."""
    whole = {"kid": key_id(api_key)} | header
    headers = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(claims, signing_key(api_key) if by is None else by, algorithm="EdDSA", headers=headers)


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """Whatever the header says of it, the signature is this one."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
