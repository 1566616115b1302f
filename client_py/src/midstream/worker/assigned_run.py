"""A run that this worker has, for one epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from midstream.v1.worker_service_pb2 import WorkResponse


class Executor(Protocol):
    """What executes a run: a child process, or in tests this one."""

    def deliver(self, frame: bytes) -> None: ...
    def kill(self) -> None: ...


StartExecutor = Callable[[WorkResponse.Assigned, Callable[[bytes], None], Callable[[str], None]], Executor]
"""Given the assignment, what to do with a frame from the executor, and what if it dies."""


@dataclass(eq=False)
class AssignedRun:
    """`outcome` is how it ended, where the executor has said so."""

    run_id: str
    epoch: int
    task: str
    executor: Executor
    received_offset: int = 0
    outcome: str = ""
