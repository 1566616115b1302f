"""API keys: `midstream_<id>_<secret>`, of which the server keeps a hash and a public key."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX = "midstream_"
_KEY = re.compile(r"midstream_([a-z0-9]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 12
_SECRET_BYTES = 32
_SEED_INFO = b"midstream.v1 access token"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key as it is kept: nothing here lets anyone in. Times are microseconds since the epoch."""

    key_id: str
    namespace: str
    name: str
    digest: bytes = field(repr=False)
    """SHA-256 of the key's text."""
    public_key: bytes = field(repr=False)
    """Ed25519: checks the access tokens that were signed with the key."""
    created_us: int
    revoked_us: int | None = None


def new_text() -> str:
    """The text of a new API key: 256 random bits and a random id."""
    key_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")
    return f"{PREFIX}{key_id}_{secret}"


def key_id_of(text: str) -> str | None:
    """The id in an API key's text; None where it is none."""
    match = _KEY.fullmatch(text)
    return None if match is None else match[1]


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def signing_key_of(text: str) -> Ed25519PrivateKey:
    """The key pair of an API key, as `access_token.proto` derives it."""
    seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=_SEED_INFO).derive(text.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def kept(text: str, *, namespace: str, name: str, now_us: int) -> ApiKey:
    """What is kept of a new key. Raises ValueError where `text` is none."""
    key_id = key_id_of(text)
    if key_id is None:
        raise ValueError("the text is not an API key")
    return ApiKey(
        key_id=key_id,
        namespace=namespace,
        name=name,
        digest=digest_of(text),
        public_key=signing_key_of(text).public_key().public_bytes_raw(),
        created_us=now_us,
    )
