"""Which pages may call: CORS by an allow list, and the same rule for WebSockets, which know no CORS."""

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

Headers = list[tuple[bytes, bytes]]

_EXPOSED: Final = b"grpc-status, grpc-message, grpc-status-details-bin"
_REQUEST_HEADERS: Final = (
    b"authorization, content-type, content-encoding, connect-protocol-version, connect-timeout-ms, "
    b"connect-content-encoding, connect-accept-encoding, grpc-encoding, grpc-accept-encoding, grpc-timeout, "
    b"x-grpc-web, x-user-agent, traceparent, tracestate"
)
_PREFLIGHT_SECONDS: Final = b"7200"
ANY: Final = "*"


class Origins:
    """The allow list. A page that the listener's own host serves may call too, where that host is no name in the DNS.

    For a name could be rebound by its owner to this machine's address. A proxy's name belongs on the list.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed)

    def allow(self, origin: str, host: str) -> bool:
        """`host` is the request's Host header."""
        return ANY in self._allowed or origin in self._allowed or _is_own(origin, host)

    def response_headers(self, origin: str) -> Headers:
        """Let an allowed page read a response, errors included. Never with cookies: credentials are in the request."""
        allowed = b"*" if ANY in self._allowed else origin.encode("latin-1")
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"origin"),
        ]

    @staticmethod
    def preflight_headers() -> Headers:
        """Beside those of a response."""
        return [
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", _REQUEST_HEADERS),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]


def check_origin(origin: str) -> str:
    """Returns `origin` if it is `*` or like `https://app.example.com`. Raises ValueError."""
    if origin == ANY:
        return origin
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or f"{parts.scheme}://{parts.netloc}" != origin:
        raise ValueError(f"{origin!r} is no origin: write it like https://app.example.com or http://localhost:5173")
    return origin


def _is_own(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
        if parts.netloc != host or not host:
            return False
        if name == "localhost":
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
