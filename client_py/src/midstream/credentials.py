"""What the calls of a connection carry as their `authorization`: an API key, or an access token that is renewed."""

import asyncio
import base64
import binascii
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from midstream.errors import MidstreamError, Unauthenticated

AccessTokenSource = str | Callable[[], str | Awaitable[str]]
"""A token, or what gives one whenever another is needed: a function, or an async one."""

Metadata = tuple[tuple[str, str], ...]

_RENEW_BEFORE_S: Final = 30
_STILLBORN_S: Final = 0.5


class Bearer:
    """Asks the callback, if that is what it was given, only for a first token and when the last one is spent."""

    def __init__(self, api_key: str | None, access_token: AccessTokenSource | None) -> None:
        self._ask = access_token if callable(access_token) else None
        fixed = api_key if access_token is None else access_token
        self._metadata = _bearer(fixed) if isinstance(fixed, str) else ()
        self._expire_s: float | None = None
        self._asked_s = 0.0
        self._worked = False
        self._asking = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """For one call. Raises MidstreamError where the callback fails."""
        if self._ask is None or self._is_fresh():
            return self._metadata
        async with self._asking:
            if not self._is_fresh():
                token = await _ask(self._ask)
                self._metadata = _bearer(token)
                self._expire_s = expire_time_s(token)
                self._asked_s = time.monotonic()
                self._worked = False
        return self._metadata

    def worked(self, used: Metadata) -> None:
        """The server has accepted a call that was made with `used`."""
        if used is self._metadata:
            self._worked = True

    def renews(self, error: MidstreamError, used: Metadata) -> bool:
        """Whether the call that `error` ended, made with `used`, can be made again with another token."""
        if error.reason != "TOKEN_EXPIRED" or self._ask is None:
            return False
        if used != self._metadata:
            return True  # another call has got a new one already
        if not self._worked and time.monotonic() - self._asked_s < _STILLBORN_S:
            return False  # the callback gives expired ones: asking for more would go on for ever
        self._metadata = ()
        return True

    def _is_fresh(self) -> bool:
        if not self._metadata:
            return False
        return self._expire_s is None or time.time() < self._expire_s - _RENEW_BEFORE_S


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of itself; nothing here checks its signature."""

    token_id: str
    expire_s: float | None


def read_claims(token: str) -> Claims | None:
    """None: this is no token."""
    try:
        _, payload, _ = token.split(".")
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expire_s = claims.get("exp")
        return Claims(str(claims.get("jti", "")), float(expire_s) if isinstance(expire_s, int | float) else None)
    except (ValueError, AttributeError, binascii.Error):
        return None


def expire_time_s(token: str) -> float | None:
    """When the token says that it expires, in seconds since 1970; None where it does not say so."""
    claims = read_claims(token)
    return None if claims is None else claims.expire_s


def check_secret(what: str, secret: object) -> None:
    """Raises ValueError, without the secret in it, for a text that a header cannot carry."""
    if not isinstance(secret, str):
        return
    if not secret:
        raise ValueError(f"{what} is empty")
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ValueError(f"{what} has a space, a line end or another character that no key has: was more copied?")


def _bearer(secret: str) -> Metadata:
    return (("authorization", f"Bearer {secret}"),)


async def _ask(ask: Callable[[], str | Awaitable[str]]) -> str:
    try:
        token = ask()
        if inspect.isawaitable(token):
            token = await token
        if not isinstance(token, str):
            raise TypeError(f"it returned a {type(token).__name__}, not a str")
        check_secret("its token", token)
    except Exception as error:
        raise Unauthenticated(f"the access_token callback failed: {error!r}", code="UNAUTHENTICATED") from error
    return token
