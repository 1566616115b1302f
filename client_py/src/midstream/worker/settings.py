"""What a worker is told when it starts."""

from dataclasses import dataclass, field
from typing import Final, Literal

StartMethod = Literal["auto", "fork", "spawn"]
LogFormat = Literal["console", "json"]

DEFAULT_DRAIN_TIMEOUT_US: Final = 30_000_000
DEFAULT_CREDIT: Final = 100
DEFAULT_SPARES: Final = 2


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """Frozen; read once. Timeouts are in microseconds."""

    modules: tuple[str, ...]
    """What to execute: `module:attribute`, or `module` for all tasks in it."""

    worker_id: str = ""
    """A name that no other living worker has; empty: a random one."""

    directory: str = "."
    """Put in front of sys.path for the modules."""

    credit: int = DEFAULT_CREDIT
    """How many runs are warm here at most."""

    spares: int = DEFAULT_SPARES
    """How many processes wait, warmed up, for the next runs."""

    idle_timeout_us: int | None = None
    """How long a run that could be suspended stays warm; None: as its task says."""

    drain_timeout_us: int = DEFAULT_DRAIN_TIMEOUT_US
    """How long runs that cannot be suspended may go on once the worker was told to stop."""

    push_schemas: bool = False
    """Register what the modules declare before taking runs."""

    start_method: StartMethod = "auto"
    log_format: LogFormat = "console"
    environment: dict[str, str] = field(default_factory=dict)
    """For the processes that execute runs, on top of the worker's own."""
