"""Workers in both languages, each a process with a way of its own to the servers."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

from support.typescript_worker import TypeScriptWorker
from support.worker_process import WorkerProcess, children_of

TASKS = {"python": "listens-python", "typescript": "listens-typescript"}
"""The name of the task that listens, by language."""

_FLAGS = ("--idle-timeout", "0s", "--spares", "1")
_MODULE_TS = Path(__file__).parent / "tasks.mjs"


class Fleet:
    """Workers by name, such as `python-0`."""

    def __init__(self, directory: Path) -> None:
        self.workers: dict[str, WorkerProcess] = {}
        self._order = directory / "die"
        """A file: the thread that finds it dies."""
        self._directory = directory

    def add(self, name: str, address: str) -> WorkerProcess:
        language, _, _ = name.partition("-")
        url = f"grpc://{address}"
        worker = (
            WorkerProcess(url, self._directory, "support.chaos.tasks", args=_FLAGS)
            if language == "python"
            else TypeScriptWorker(url, str(_MODULE_TS), args=_FLAGS, env={"CHAOS_DIE": str(self._order)})
        )
        self.workers[name] = worker
        return worker

    def kill(self, name: str) -> None:
        self.workers[name].kill9()

    def start(self, name: str) -> None:
        """Under another worker id."""
        self.workers[name].start()

    def pause(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def kill_child(self, name: str, randomness: random.Random) -> None:
        """One of a run, or a spare one."""
        templates = list(children_of(self.workers[name].pid))
        children = [pid for template in templates for pid in children_of(template)] or templates
        if children:
            with suppress(ProcessLookupError):
                os.kill(randomness.choice(children), signal.SIGKILL)

    def kill_thread(self) -> None:
        """The next thread in TypeScript that begins a step."""
        self._order.touch()

    def _signal(self, name: str, number: signal.Signals) -> None:
        self.workers[name].send_signal(number)

    def end(self) -> None:
        for worker in self.workers.values():
            worker.__exit__(None, None, None)
