"""Where the server is: `grpc://host:port`, `grpcs://host:port` (TLS), or `host:port`."""

import ipaddress
import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

ENVIRONMENT_VARIABLE: Final = "MIDSTREAM_URL"
DEFAULT_URL: Final = "grpc://127.0.0.1:7733"
DEFAULT_PORT: Final = 7733


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address. `host` has no brackets, even for IPv6."""

    host: str
    port: int
    tls: bool

    @property
    def target(self) -> str:
        """As gRPC wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://{self.target}"


def resolve(url: str | None = None) -> Address:
    """The address in `url`, else in MIDSTREAM_URL, else of a server on this machine. Raises ValueError."""
    if url is not None:
        return parse(url)
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if not named:
        return parse(DEFAULT_URL)
    try:
        return parse(named)
    except ValueError as error:
        raise ValueError(f"{ENVIRONMENT_VARIABLE}: {error}") from None


def parse(url: str) -> Address:
    """Raises ValueError with the URL and what is wrong with it."""
    try:
        parts = urlsplit(url if "://" in url else f"grpc://{url}")
        port = parts.port
    except ValueError as error:
        raise _bad(url, str(error)) from None
    if parts.scheme not in ("grpc", "grpcs"):
        raise _bad(url, f"the scheme {parts.scheme!r} is not known")
    if not parts.hostname:
        raise _bad(url, "it names no host")
    if extra := _beyond_host_and_port(parts):
        raise _bad(url, f"{extra!r} has no meaning here")
    if port == 0:
        raise _bad(url, "port 0 cannot be connected to")
    return Address(parts.hostname, DEFAULT_PORT if port is None else port, parts.scheme == "grpcs")


def _beyond_host_and_port(parts: SplitResult) -> str:
    user = parts.netloc.rpartition("@")[0]
    return user or parts.path.strip("/") or parts.query or parts.fragment


def _bad(url: str, problem: str) -> ValueError:
    return ValueError(f"cannot use {url!r} as a server's URL: {problem}; write grpc://host:port, or grpcs:// for TLS")
