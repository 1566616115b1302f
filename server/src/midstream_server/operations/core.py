"""What every operation needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from midstream.clock import Clock
from midstream_server.drain import Drain
from midstream_server.operations.gate import Gate
from midstream_server.operations.hub import Hub
from midstream_server.operations.schemas import Schemas
from midstream_server.operations.work.dispatcher import Dispatcher
from midstream_server.store import Store
from midstream_server.store.managed import ManagedStore
from midstream_server.store.outputs import OutputStore
from midstream_server.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The parts that operations work on. `namespace` arguments of operations come from the caller's credentials."""

    store: Store
    managed: ManagedStore
    outputs: OutputStore
    schemas: Schemas
    dispatcher: Dispatcher
    hub: Hub
    gate: Gate
    clock: Clock
    drain: Drain
    metrics: Metrics
    timers_changed: Callable[[], None]
    """To be called when a timer may be due earlier than the next one was."""

    def delivered(self, times_us: Sequence[int]) -> None:
        """Counts records as given to a reader; the first was accepted first."""
        self.metrics.delivered(len(times_us), (self.clock.now_us() - times_us[0]) / 1_000_000)
