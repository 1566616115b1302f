"""The `sign` step of a vector: an access token made from the contract's text, without the client's own code."""

import base64
import json
import time
import uuid
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def sign(step: dict[str, Any]) -> str:
    """`key` is an API key; `claims` and `header` are put over the usual ones."""
    key: str = step["key"]
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"midstream.v1 access token").derive(key.encode())
    now = int(time.time())
    usual = {"iss": "midstream.v1", "jti": uuid.uuid4().hex, "scope": "read:run_x", "iat": 0, "exp": 600}
    claims: dict[str, Any] = usual | step["claims"]
    claims |= {name: now + claims[name] for name in ("iat", "exp")}
    header = {"alg": "EdDSA", "typ": "JWT", "kid": key.split("_")[1], **step.get("header", {})}
    text = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
    return f"{text}.{_part(Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode()))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
