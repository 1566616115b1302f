"""The gate: tells who calls from the credentials of a call, and ends what is done with credentials that are no good."""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from contextlib import suppress
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from midstream.clock import Clock
from midstream_server.domain import api_key
from midstream_server.domain.access_token import check_time, key_id_of, unknown_signer, verify
from midstream_server.domain.api_key import ApiKey
from midstream_server.domain.bucket import Bucket
from midstream_server.domain.caller import DEFAULT_NAMESPACE, Caller, SenderKind
from midstream_server.domain.credential_errors import (
    credentials_invalid,
    credentials_missing,
    token_revoked,
)
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import TokenLimits
from midstream_server.domain.standing import Standing
from midstream_server.store.credentials import CredentialStore
from midstream_server.telemetry import log

SERVER_KEY_ID = "server"
"""Signs the tokens of a server without API keys. They end with the first key: anybody could have made them."""
LOOK_SECONDS = 0.5
KNOWN = 10_000
"""Credentials that are kept in mind once they were found right."""
_SCHEME = "bearer "
_NO_DIGEST = bytes(32)


class Signer(NamedTuple):
    """What signs a caller's tokens."""

    key_id: str
    key: Ed25519PrivateKey


class Gate:
    """One server's. `open` comes before everything else."""

    def __init__(self, clock: Clock, limits: TokenLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._may_be_open = False
        self._keys: dict[str, ApiKey] = {}
        self._keys_through = 0
        self._revoked_through = 0
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._signers: dict[str, Signer] = {}
        self._anonymous = Caller(DEFAULT_NAMESPACE, SenderKind.ANONYMOUS, "")
        self._watching: asyncio.Task[None] | None = None

    async def open(self, store: CredentialStore, *, may_be_open: bool) -> None:
        """Learns the keys, and goes on looking for changes until `close`.

        `may_be_open`: without any key, whoever calls may do everything.
        """
        self._store = store
        self._may_be_open = may_be_open
        seed = await store.server_seed(secrets.token_bytes(32))
        self._signers[SERVER_KEY_ID] = Signer(SERVER_KEY_ID, Ed25519PrivateKey.from_private_bytes(seed))
        await self.look()
        self._watching = asyncio.create_task(self._watch(), name="gate")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching

    @property
    def has_keys(self) -> bool:
        """Whether there is an API key, or was one."""
        return bool(self._keys)

    @property
    def asks(self) -> bool:
        """Whether a call needs credentials. Once there was a key, for ever: revoking one must not open the door."""
        return self.has_keys or not self._may_be_open

    async def authenticate(self, authorization: str | None) -> Caller:
        """Who calls, by the value of the `authorization` header. Raises Refused."""
        if authorization is None:
            self._anonymous.standing.check()
            if self.asks:
                raise credentials_missing()
            return self._anonymous
        text = _bearer(authorization)
        digest = api_key.digest_of(text)
        caller = self._known.get(digest)
        if caller is None:
            caller = await (
                self._admit_key(text, digest) if text.startswith(api_key.PREFIX) else self._admit_token(text)
            )
            caller = self._kept(digest, caller)
        caller.standing.check()
        if caller.token is not None:
            check_time(caller.token, now_us=self._clock.now_us())
        return caller

    def signer(self, caller: Caller) -> Signer:
        """What signs the tokens that a caller asks for. An access token makes no others. Raises Refused."""
        caller.check_backend()
        return self._signers[caller.key_id or SERVER_KEY_ID]

    async def revoke_token(self, namespace: str, token_id: str, *, forget_us: int) -> None:
        """Durable when it returns; the token's open calls have been told to end."""
        await self._store.revoke_token(namespace, token_id, forget_us=forget_us, now_us=self._clock.now_us())
        await self.look()

    async def look(self) -> None:
        """Applies what has changed: new and revoked keys, revoked and expired tokens."""
        changes = await self._store.key_changes(after=self._keys_through)
        self._keys_through = max(self._keys_through, changes.through)
        for key in changes.keys:
            self._keys[key.key_id] = key
        if changes.keys:
            self._apply_keys()
        revoked = await self._store.revocations(after=self._revoked_through)
        self._revoked_through = max(self._revoked_through, revoked.through)
        gone = frozenset(revoked.tokens)
        now_us = self._clock.now_us()
        for caller in tuple(self._known.values()):
            if caller.token is None:
                continue
            if (caller.namespace, caller.token.token_id) in gone:
                caller.standing.end(token_revoked(caller.token.token_id))
            elif caller.standing.in_use:
                try:
                    check_time(caller.token, now_us=now_us)
                except Refused as expired:
                    caller.standing.end(expired)

    def _apply_keys(self) -> None:
        if self.asks:
            self._anonymous.standing.end(credentials_missing())
        for caller in self._known.values():
            if not self._good(caller.key_id):
                caller.standing.end(
                    credentials_invalid("the API key was revoked") if caller.token is None else unknown_signer()
                )

    def _good(self, key_id: str) -> bool:
        if key_id == SERVER_KEY_ID:
            return not self.asks
        key = self._keys.get(key_id)
        return key is not None and key.revoked_us is None

    async def _admit_key(self, text: str, digest: bytes) -> Caller:
        key_id = api_key.key_id_of(text) or ""
        key = await self._find(key_id)
        if not hmac.compare_digest(digest, _NO_DIGEST if key is None else key.digest) or key is None:
            raise credentials_invalid("the API key is unknown or was revoked")
        self._signers[key_id] = Signer(key_id, api_key.signing_key_of(text))
        return Caller(key.namespace, SenderKind.API_KEY, key.name, key_id=key_id)

    async def _admit_token(self, text: str) -> Caller:
        key_id = key_id_of(text)
        if key_id == SERVER_KEY_ID:
            namespace, public_key = DEFAULT_NAMESPACE, self._signers[SERVER_KEY_ID].key.public_key()
        else:
            key = await self._find(key_id)
            if key is None:
                raise unknown_signer()
            namespace, public_key = key.namespace, Ed25519PublicKey.from_public_bytes(key.public_key)
        now_us = self._clock.now_us()
        grant = verify(text, public_key, now_us=now_us)
        seen = -1
        while seen != self._revoked_through:  # What was revoked while the store answered was not in its answer.
            seen = self._revoked_through
            if await self._store.token_revoked(namespace, grant.token_id):
                raise token_revoked(grant.token_id)
        if not self._good(key_id):
            raise unknown_signer()
        bucket = Bucket(self._limits.records_per_second, self._limits.burst, now_us=now_us)
        standing = Standing(bucket=bucket, max_subscriptions=self._limits.max_subscriptions)
        return Caller(namespace, SenderKind.ACCESS_TOKEN, grant.subject, grant, standing, key_id)

    async def _find(self, key_id: str) -> ApiKey | None:
        """A key that is in force; it may have been created a moment ago."""
        if key_id and key_id not in self._keys:
            await self.look()
        return self._keys[key_id] if self._good(key_id) else None

    def _kept(self, digest: bytes, caller: Caller) -> Caller:
        """The one caller for these credentials, whoever came first with them."""
        caller = self._known.setdefault(digest, caller)
        if len(self._known) > KNOWN:
            oldest, forgotten = self._known.popitem(last=False)
            if forgotten.standing.in_use:  # Its calls must still hear of its end.
                self._known[oldest] = forgotten
        return caller

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception as error:
                log.credentials_not_read(error=error)


def _bearer(authorization: str) -> str:
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise credentials_invalid("write `authorization: Bearer ` and an API key or an access token")
    return authorization[len(_SCHEME) :].strip()
