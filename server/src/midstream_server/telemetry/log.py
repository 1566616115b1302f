"""Every log event of the server, each a function: the only place that knows how a log line looks."""

import logging
import sys
from typing import Any, Literal, TextIO, cast

import structlog

from midstream.lossy import LossyStream
from midstream_server.domain.errors import Refused

_log: Any = structlog.get_logger()


def configure(*, format: Literal["auto", "json", "console"], level: str) -> None:
    """Once a process, before the first event. Lines go to stdout; `auto` is `console` on a terminal, else `json`."""
    console = format == "console" or (format == "auto" and sys.stdout.isatty())
    rendering: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
        if console
        else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", LossyStream(sys.stdout))),
        cache_logger_on_first_use=True,
    )


# The process


def server_started(*, url: str, web_url: str | None, metrics_url: str | None, database: str) -> None:
    """The server answers. Programs that start it wait for this line and read the ports from it."""
    _log.info("server_started", url=url, web_url=web_url, metrics_url=metrics_url, database=database)


def server_draining(*, signal: str, drain_seconds: float) -> None:
    _log.info("server_draining", signal=signal, drain_seconds=drain_seconds)


def advanced(*, now_us: int) -> None:
    """The clock of a server for tests was moved, and every timer that came due has been dealt with."""
    _log.info("advanced", now_us=now_us)


def advance_refused(*, message: str) -> None:
    _log.warning("advance_refused", message=message)


def drain_timed_out(*, open_calls: int) -> None:
    """Calls went on for longer than `drain_seconds` and were cut off."""
    _log.warning("drain_timed_out", open_calls=open_calls)


def server_stopped() -> None:
    _log.info("server_stopped")


# Calls


def call_refused(*, method: str, reason: str, message: str) -> None:
    _log.debug("call_refused", method=method, reason=reason, message=message)


def call_failed(*, method: str, reference: str, error: BaseException) -> None:
    """A fault of ours. The caller sees only the reference."""
    _log.error("call_failed", method=method, reference=reference, exc_info=error)


def web_failed(*, path: str, error: BaseException) -> None:
    """A fault of ours in the web edge, outside a servicer. The connection is closed."""
    _log.error("web_failed", path=path, exc_info=error)


def snapshot_failed(*, error: BaseException) -> None:
    """The gauges that are read from the store keep their last values."""
    _log.warning("snapshot_failed", **_told(error))


# Credentials


def server_is_open(*, listen: str) -> None:
    """There are no API keys: whoever reaches the server may do everything."""
    _log.warning(
        "server_is_open",
        listen=listen,
        message="no credentials are asked for: whoever reaches this server may read and write everything; "
        "to close it, run `midstream-server keys create --name NAME`",
    )


def credentials_not_read(*, error: BaseException) -> None:
    """What was known of API keys and revoked tokens stays in force; it is read again at once."""
    _log.warning("credentials_not_read", **_told(error))


# Timers


def timer_fired(*, run_id: str, timer: str) -> None:
    """A run came due: EXPIRED at its deadline or unheld, CANCELLED after its grace, deleted after its retention."""
    _log.info("timer_fired", run_id=run_id, timer=timer)


def pause_noticed() -> None:
    """This process did not run for a while: workers get their whole lease again to say that they live."""
    _log.warning("pause_noticed")


def schemas_delayed(*, error: BaseException) -> None:
    """Whether schemas have changed could not be seen; each namespace's are read again."""
    _log.warning("schemas_delayed", **_told(error))


def claims_delayed(*, error: BaseException) -> None:
    """Queued runs could not be claimed for the workers here; they are tried again soon."""
    _log.warning("claims_delayed", **_told(error))


def timers_delayed(*, error: BaseException) -> None:
    """The store could not take what timers do; they are tried again soon."""
    _log.warning("timers_delayed", **_told(error))


def _told(error: BaseException) -> dict[str, Any]:
    """A refusal says what is wrong, again and again while the store is away; of a fault of ours, where it was."""
    return {"error": str(error)} if isinstance(error, Refused) else {"exc_info": error}
