"""Everything that can be set, in one frozen object, read once."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from midstream import durations
from midstream_server.domain.limits import Limits, Periods, TokenLimits
from midstream_server.web.origins import check_origin

ENV_PREFIX = "MIDSTREAM_"
_SQLITE = "sqlite"
_STORES = (_SQLITE, "postgresql", "postgres")


class SettingError(ValueError):
    """A setting has a wrong value. The message names each such setting, its value and what would be right."""


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[ipv6]:port` as (host, port), without the brackets. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("write host:port, such as 127.0.0.1:7733 or [::1]:7733; port 0 takes any free one")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError(f"put an IPv6 address in brackets: [{host}]:{port}")
    return host, int(port)


def _checked_address(address: str) -> str:
    split_address(address)
    return address


def _checked_optional_address(address: str) -> str:
    return address and _checked_address(address)


def _checked_store(url: str) -> str:
    scheme, colon, rest = url.partition("://")
    if url and (not colon or scheme not in _STORES or not rest):
        raise ValueError(
            "write sqlite:///midstream.db, sqlite:////var/lib/midstream.db or postgresql://user@host:5432/database"
        )
    return url


def _duration_us(value: Any) -> int:
    try:
        return durations.parse(value)
    except TypeError as error:
        raise ValueError(str(error)) from None


DurationUs = Annotated[int, BeforeValidator(_duration_us)]
"""Written as `7d` or `30s`; whole microseconds once read."""
StoreUrl = Annotated[str, AfterValidator(_checked_store)]
Address = Annotated[str, AfterValidator(_checked_address)]
OptionalAddress = Annotated[str, AfterValidator(_checked_optional_address)]


def _checked_origins(origins: str) -> str:
    for origin in _listed(origins):
        check_origin(origin)
    return origins


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


Origins = Annotated[str, AfterValidator(_checked_origins)]
OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: value or None)]


class TlsFiles(NamedTuple):
    """PEM files of a listener. With `client_ca`, clients must have a certificate from one of these authorities."""

    cert: Path
    key: Path
    client_ca: Path | None


def _tls_files(prefix: str, cert: Path | None, key: Path | None, client_ca: Path | None) -> TlsFiles | None:
    if cert is not None and key is not None:
        return TlsFiles(cert, key, client_ca)
    if cert is None and key is None and client_ca is None:
        return None
    raise ValueError(f"{flag_name(prefix + '_cert')} and {flag_name(prefix + '_key')} are needed together")


class Settings(BaseSettings):
    """The server's settings. A keyword wins over the environment, which wins over the default.

    Raises pydantic's ValidationError; `load` raises SettingError with a message for people instead.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", validate_default=False, allow_inf_nan=False
    )

    listen: Address = Field(
        default="127.0.0.1:7733", description="host:port of the gRPC listener; port 0 takes any free one"
    )
    web_listen: OptionalAddress = Field(
        default="127.0.0.1:7780",
        description="host:port of the listener for browsers; empty for none, port 0 takes any free one",
    )
    web_origins: Origins = Field(
        default="",
        description="origins whose pages may call, such as https://app.example.com, separated by commas; * for all",
    )
    insecure: bool = Field(
        default=False,
        description="true: listen on any address without API keys, open to whoever reaches it",
    )
    tls_cert: OptionalPath = Field(
        default=None, description="PEM file of the gRPC listener's certificate chain; empty for plain text"
    )
    tls_key: OptionalPath = Field(default=None, description="PEM file of the certificate's private key")
    tls_client_ca: OptionalPath = Field(
        default=None, description="PEM file of the authorities whose certificates clients must have (mTLS)"
    )
    web_tls_cert: OptionalPath = Field(default=None, description="as tls-cert, for the web listener")
    web_tls_key: OptionalPath = Field(default=None, description="as tls-key, for the web listener")
    web_tls_client_ca: OptionalPath = Field(default=None, description="as tls-client-ca, for the web listener")
    database: Path = Field(
        default=Path("midstream.db"), description="path of the SQLite database, created where there is none"
    )
    store: StoreUrl = Field(
        default="",
        description="sqlite:///path (a fourth slash for an absolute one), or postgresql://user:password@host:port/name "
        "for many servers, several hosts separated by commas; empty for the SQLite database of --database",
    )
    metrics_listen: OptionalAddress = Field(
        default="127.0.0.1:9464",
        description="host:port of /metrics and /healthz; empty for none, port 0 takes any free one",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
    drain_seconds: float = Field(default=10.0, ge=0, description="how long calls in progress may go on after SIGTERM")
    retention: DurationUs = Field(
        default=durations.parse("7d"), description="how long an ended run is kept with its records"
    )
    output_retention: DurationUs = Field(
        default=durations.parse("7d"),
        description="how long output records are kept after their run's end; never longer than the run",
    )
    unheld_expiry: DurationUs = Field(
        default=durations.parse("24h"), gt=0, description="an attached run that nobody holds expires after this"
    )
    cancel_grace: DurationUs = Field(
        default=durations.parse("30s"), description="how long a run may clean up after a cancel request"
    )
    lease: DurationUs = Field(
        default=durations.parse("15s"), gt=0, description="a worker that is not heard of for this long loses its runs"
    )
    max_payload_bytes: int = Field(
        default=1024 * 1024, gt=0, le=1024 * 1024, description="limit of one record's payload"
    )
    max_unread_records: int = Field(
        default=10_000, gt=0, description="limit of unread records on one stream of one run"
    )
    max_unread_bytes: int = Field(
        default=64 * 1024 * 1024, gt=0, description="limit of unread payload bytes on one stream"
    )
    max_streams_per_run: int = Field(default=1_000, gt=0, description="limit of different streams in one run")

    max_output_bytes: int = Field(
        default=64 * 1024 * 1024, gt=0, description="limit of one run's output records; the oldest are deleted"
    )

    token_records_per_second: float = Field(
        default=50, gt=0, description="calls and records a second that one access token may make"
    )
    token_burst: int = Field(default=200, gt=0, description="how many of them may come at once")
    max_subscriptions_per_token: int = Field(
        default=32, gt=0, description="limit of streaming calls that are open with one access token"
    )

    @property
    def token_limits(self) -> TokenLimits:
        return TokenLimits(
            records_per_second=self.token_records_per_second,
            burst=self.token_burst,
            max_subscriptions=self.max_subscriptions_per_token,
        )

    @property
    def tls(self) -> TlsFiles | None:
        """Of the gRPC listener."""
        return _tls_files("tls", self.tls_cert, self.tls_key, self.tls_client_ca)

    @property
    def web_tls(self) -> TlsFiles | None:
        """Of the web listener."""
        return _tls_files("web_tls", self.web_tls_cert, self.web_tls_key, self.web_tls_client_ca)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        _ = self.tls, self.web_tls
        return self

    @property
    def web_origin_list(self) -> list[str]:
        return _listed(self.web_origins)

    @property
    def place(self) -> Path | str:
        """Where the store is: the path of an SQLite database, or the URL of one on PostgreSQL."""
        scheme, _, rest = self.store.partition("://")
        if not self.store:
            return self.database
        return Path(rest.removeprefix("/")) if scheme == _SQLITE else self.store

    @property
    def limits(self) -> Limits:
        return Limits(
            max_payload_bytes=self.max_payload_bytes,
            max_unread_records=self.max_unread_records,
            max_unread_bytes=self.max_unread_bytes,
            max_streams_per_run=self.max_streams_per_run,
            max_output_bytes=self.max_output_bytes,
        )

    @property
    def periods(self) -> Periods:
        return Periods(
            retention_us=self.retention,
            output_retention_us=self.output_retention,
            unheld_expiry_us=self.unheld_expiry,
            cancel_grace_us=self.cancel_grace,
        )


def shown_default(field: str) -> str:
    """The default as one would write it."""
    info = Settings.model_fields[field]
    if _duration_us in (each.func for each in info.metadata if isinstance(each, BeforeValidator)):
        return durations.format(info.default)
    if isinstance(info.default, bool):
        return str(info.default).lower()
    return "empty" if info.default in ("", None) else str(info.default)


def without_password(text: str) -> str:
    """For logs and messages: a URL's password is masked."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def env_name(field: str) -> str:
    return ENV_PREFIX + field.upper()


def flag_name(field: str) -> str:
    return "--" + field.replace("_", "-")


def load(flags: dict[str, str]) -> Settings:
    """Settings from flags (by field name), then the environment, then the defaults. Raises SettingError."""
    try:
        return Settings(**flags)  # type: ignore[arg-type]  # pydantic parses the texts
    except ValidationError as error:
        raise SettingError("\n".join(_explain(problem, flags) for problem in error.errors())) from None


def _explain(problem: Any, flags: dict[str, str]) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(message)
    field = str(problem["loc"][0])
    name = flag_name(field) if field in flags else env_name(field)
    written = flags.get(field, os.environ.get(env_name(field), problem["input"]))
    return f"{name}={without_password(str(written))!r}: {message}"
