"""Log records that name the run they belong to, and are quiet while the task replays what it has done before."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from midstream.runtime.loop import TurnLoop
from midstream.worker.settings import LogFormat


@dataclass(frozen=True)
class RunInLog:
    """The run whose code is running."""

    run_id: str
    task: str
    replaying: Callable[[], bool]


current: Final[ContextVar[RunInLog | None]] = ContextVar("midstream_run_in_log", default=None)


class RunFilter(logging.Filter):
    """Adds `run_id` and `task` to a record; drops what the task's own code says while it replays."""

    def filter(self, record: logging.LogRecord) -> bool:
        run = current.get()
        record.run_id = getattr(record, "run_id", "") if run is None else run.run_id
        record.task = "" if run is None else run.task
        in_turn = isinstance(asyncio._get_running_loop(), TurnLoop)
        return not (run is not None and in_turn and run.replaying())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        for name in ("run_id", "task"):
            if value := getattr(record, name, ""):
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class ConsoleFormatter(logging.Formatter):
    """For a person: time, level, message, run."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s  %(levelname)-7s %(message)s%(of_run)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        run_id = getattr(record, "run_id", "")
        record.of_run = f"  [{run_id}]" if run_id else ""
        return super().format(record)


def set_up(log_format: LogFormat) -> None:
    """Gives the process a handler on stderr where the user's module has set up none, and every handler the filter."""
    root = logging.getLogger()
    if not root.handlers:
        own = logging.StreamHandler(sys.stderr)
        own.setFormatter(JsonFormatter() if log_format == "json" else ConsoleFormatter())
        root.addHandler(own)
        root.setLevel(logging.INFO)
    loggers = [root, *(each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if not any(isinstance(each, RunFilter) for each in handler.filters):
            handler.addFilter(RunFilter())
