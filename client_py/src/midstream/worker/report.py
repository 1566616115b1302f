"""What a worker tells whoever watches it: lines for a person, JSON for a machine."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

from midstream import durations
from midstream.lossy import LossyStream
from midstream.worker.settings import LogFormat

if TYPE_CHECKING:
    from midstream.schemas import RegisteredSchema

_WARNINGS: Final = frozenset({"run_died", "template_died", "disconnected", "run_blocked", "threads_in_module"})


class Report:
    """One method an event. The names of the events and their fields are stable."""

    def __init__(self, log_format: LogFormat, stream: TextIO | None = None) -> None:
        self._format = log_format
        self._stream = LossyStream(sys.stdout) if stream is None else stream

    def started(self, url: str, worker_id: str, tasks: Mapping[str, str], credit: int) -> None:
        shown = ", ".join(f"{task} ({version})" for task, version in tasks.items())
        self._event(
            "worker_started",
            f"Worker {worker_id} for {url}: up to {credit} runs at a time of {shown}",
            url=url,
            worker_id=worker_id,
            tasks=dict(tasks),
            credit=credit,
        )

    def schemas_pushed(self, registered: "Sequence[RegisteredSchema]") -> None:
        for each in registered:
            schema = each.schema
            word = "registered" if each.created else "known"
            warnings = "".join(f"; {warning}" for warning in each.warnings)
            self._event(
                "schema_registered",
                f"Stream {schema.stream_id}: schema version {schema.version} {word}{warnings}",
                stream_id=schema.stream_id,
                version=schema.version,
                created=each.created,
                warnings=list(each.warnings),
            )

    def threads_in_module(self, threads: tuple[str, ...], spawns: bool) -> None:
        then = (
            "every run gets a fresh Python instead of a forked one, which starts more slowly"
            if spawns
            else "runs are forked nonetheless, as you chose"
        )
        self._event(
            "threads_in_module",
            f"Importing the tasks started threads ({', '.join(threads)}): {then}. Start them in a step instead.",
            threads=list(threads),
        )

    def connected(self, url: str, held: int) -> None:
        again = f", with {held} runs that went on meanwhile" if held else ""
        self._event("connected", f"Connected to {url}{again}", url=url, held=held)

    def disconnected(self, url: str, error: str, retry_us: int) -> None:
        self._event(
            "disconnected",
            f"No server at {url}: {error}. Trying again in {durations.format(retry_us)}; runs go on meanwhile",
            url=url,
            error=error,
            retry_us=retry_us,
        )

    def assigned(self, run_id: str, task: str, epoch: int, last_offset: int, resumed: bool) -> None:
        name, word = ("run_resumed", "resumed") if resumed else ("run_assigned", "assigned")
        self._run(name, word, run_id, task, f", {last_offset} entries", epoch=epoch, last_offset=last_offset)

    def suspended(self, run_id: str, task: str) -> None:
        self._run("run_suspended", "suspended", run_id, task, ", its process is gone")

    def finished(self, run_id: str, task: str, outcome: str) -> None:
        more = f": {outcome}" if outcome else ""
        self._run("run_finished", "finished", run_id, task, more, outcome=outcome)

    def blocked(self, run_id: str, task: str, failure: str) -> None:
        self._run("run_blocked", "blocked", run_id, task, f": {failure}", failure=failure)

    def fenced(self, run_id: str, task: str) -> None:
        self._run("run_fenced", "dropped", run_id, task, ": it has ended, or another worker has it")

    def released(self, run_id: str, task: str, reason: str) -> None:
        self._run("run_released", "given back", run_id, task, f": {reason}", reason=reason)

    def died(self, run_id: str, task: str, how: str) -> None:
        self._run("run_died", "died", run_id, task, f": its process {how}", how=how)

    def template_died(self, how: str) -> None:
        self._event("template_died", f"The process that runs are forked from {how}; starting another", how=how)

    def server_drains(self) -> None:
        self._event("server_drains", "The server is shutting down; looking for it again")

    def draining(self, runs: int, timeout_us: int) -> None:
        limit = durations.format(timeout_us)
        text = f"Stopping: {runs} runs are suspended where they can be, or given back after {limit}"
        self._event("worker_draining", text if runs else "Stopping", runs=runs, timeout_us=timeout_us)

    def stopped(self) -> None:
        self._event("worker_stopped", "Stopped")

    def _run(self, event: str, word: str, run_id: str, task: str, more: str, **fields: Any) -> None:
        self._event(event, f"{word:<10} {run_id}  {task}{more}", run_id=run_id, task=task, **fields)

    def _event(self, name: str, text: str, **fields: Any) -> None:
        now = datetime.now(UTC)
        if self._format == "json":
            level = "warning" if name in _WARNINGS else "info"
            line = {"time": now.isoformat(timespec="milliseconds"), "level": level, "event": name, **fields}
            self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        else:
            self._stream.write(f"{now.astimezone():%H:%M:%S}  {text}\n")
        self._stream.flush()
