"""Tokens that somebody made up: every trick that is known is refused, in the same words."""

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from midstream.signing import key_id, signing_key
from support.forged_tokens import claims, signed, unsigned
from support.keyed_server import KeyedServer, reason_for


async def test_forged_tokens(keyed: KeyedServer, run_id: str) -> None:
    good = signed(keyed.key, claims(run_id))
    head, body, signature = good.split(".")
    wider = unsigned({}, claims(run_id, scope=f"read:{run_id} send:{run_id}")).split(".")[1]
    kid = key_id(keyed.key)
    public = signing_key(keyed.key).public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = Ed25519PrivateKey.generate()
    forged = {
        "other claims": f"{head}.{wider}.{signature}",
        "no signature": f"{head}.{body}.",
        "no signature at all": f"{head}.{body}",
        "cut signature": good[:-2],
        "longer signature": f"{good}AA",
        "padded": f"{good}==",
        "spare bits": good[:-1] + chr(ord(good[-1]) + 1),
        "alg none": unsigned({"alg": "none", "typ": "JWT", "kid": kid}, claims(run_id)),
        "alg None": unsigned({"alg": "None", "typ": "JWT", "kid": kid}, claims(run_id)),
        "alg none with a signature": unsigned({"alg": "none", "typ": "JWT", "kid": kid}, claims(run_id), b"x" * 64),
        "no alg": unsigned({"typ": "JWT", "kid": kid}, claims(run_id), b"x" * 64),
        "no header": unsigned({}, claims(run_id), b"x" * 64),
        "zeros": unsigned({"alg": "EdDSA", "typ": "JWT", "kid": kid}, claims(run_id), bytes(64)),
        "HMAC of the raw public key": hs256(kid, claims(run_id), raw),
        "HMAC of the PEM public key": hs256(kid, claims(run_id), pem),
        "HMAC of nothing": hs256(kid, claims(run_id), b""),
        "another key": signed(keyed.key, claims(run_id), by=stranger),
        "the key of another namespace under this id": signed(
            keyed.key, claims(run_id), by=signing_key(keyed.other_key)
        ),
        "a key in the header": signed(keyed.key, claims(run_id), by=stranger, jwk=jwk_of(stranger)),
        "an unknown key": signed(keyed.key, claims(run_id), kid="a" * 12),
        "the server's own key": signed(keyed.key, claims(run_id), kid="server"),
        "no kid": signed(keyed.key, claims(run_id), kid=None),
        "kid of another type": unsigned({"alg": "EdDSA", "kid": [kid]}, claims(run_id), b"x" * 64),
        "kid with a path": signed(keyed.key, claims(run_id), kid="../../etc/passwd"),
        "kid with SQL": signed(keyed.key, claims(run_id), kid="' OR 1=1 --"),
        "a list as claims": f"{head}.{b64(b'[]')}.{signature}",
        "no JSON as header": f"{b64(b'{')}.{body}.{signature}",
        "deep JSON": f"{b64(b'[' * 5000)}.{body}.{signature}",
        "far too long": f"{head}.{'A' * 6_000}.{signature}",
        "dots": "...",
    }
    assert await reason_for(keyed.url, good, run_id) == "OK"
    reasons = {name: await reason_for(keyed.url, token, run_id) for name, token in forged.items()}
    assert set(reasons.values()) == {"CREDENTIALS_INVALID"}, reasons


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def hs256(kid: str, claims: dict[str, Any], secret: bytes) -> str:
    """What a library that trusts the header's `alg` would take for good."""
    text = f"{b64(json.dumps({'alg': 'HS256', 'typ': 'JWT', 'kid': kid}).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def jwk_of(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
