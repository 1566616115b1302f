"""Every metric of the server, each set by a method named for what happened.

Counters and histograms are counted where it happens; gauges over stored runs come from the store, when somebody
scrapes. Times are in seconds. Each `Metrics` has its own registry, so that servers can share a process.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector

from midstream_server.domain.errors import Reason
from midstream_server.domain.run import State, TimerKind
from midstream_server.store.interface import Demand, Snapshot

ACCEPTED: Final = "accepted"
DEDUPLICATED: Final = "deduplicated"

_LATENCIES: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
_WAITING: Final = (*_LATENCIES, 60.0, 600.0, 3_600.0, 86_400.0)
_BATCH_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class CallMetrics:
    """What is counted for one gRPC method. Its children are bound once: looking one up by label costs microseconds."""

    def __init__(self, method: str, calls: Counter, open_calls: Gauge, open_streams: Gauge, *, streaming: bool) -> None:
        self._method = method
        self._calls = calls
        self._by_code: dict[str, Counter] = {}
        self._open = (open_streams if streaming else open_calls).labels(method)

    def started(self) -> None:
        self._open.inc()

    def ended(self, code: str) -> None:
        """`code` is the gRPC status code's name."""
        self._open.dec()
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._calls.labels(self._method, code)
        counter.inc()


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        self._calls = Counter("midstream_calls", "Ended gRPC calls.", ["method", "code"], registry=registry)
        self._open_calls = Gauge("midstream_open_calls", "Unary calls in progress.", ["method"], registry=registry)
        self._open_streams = Gauge(
            "midstream_open_streams", "Streaming calls in progress.", ["method"], registry=registry
        )
        sends = Counter("midstream_sends", "Records sent, by what became of them.", ["result"], registry=registry)
        self._sends = {result: sends.labels(result) for result in (ACCEPTED, DEDUPLICATED, *Reason)}
        self._send_latency = Histogram(
            "midstream_send_latency_seconds",
            "From the arrival of a batch of records until its receipts are ready.",
            buckets=_LATENCIES,
            registry=registry,
        )
        self._delivered = Counter("midstream_delivered_records", "Records given to a reader.", registry=registry)
        self._outputs = Counter("midstream_output_records", "Output records taken from runs.", registry=registry)
        self._deliver_latency = Histogram(
            "midstream_deliver_latency_seconds",
            "From the acceptance of a record until it was given to a reader; of a batch, its oldest one.",
            buckets=_WAITING,
            registry=registry,
        )
        self._commit_batch = Histogram(
            "midstream_commit_batch_operations",
            "Operations in one transaction of the store.",
            buckets=_BATCH_SIZES,
            registry=registry,
        )
        self._commit_time = Histogram(
            "midstream_commit_seconds",
            "Time of the store's commit, in which it waits for the disk (fsync).",
            buckets=_LATENCIES,
            registry=registry,
        )
        self._runs = Gauge("midstream_runs", "Stored runs.", ["state"], registry=registry)
        self._queue_depth = Gauge(
            "midstream_queue_depth", "Runs that wait for a worker, woken ones too.", ["task"], registry=registry
        )
        self._assigned = Gauge("midstream_assigned_runs", "Runs that a worker has.", ["task"], registry=registry)
        self._waits = Gauge("midstream_waits", "Suspended runs.", registry=registry)
        self._timers = Gauge("midstream_timers", "Timers yet to come due.", ["kind"], registry=registry)

    def for_method(self, method: str, *, streaming: bool) -> CallMetrics:
        """`method` is the full name of a method that is served, such as `/midstream.v1.StreamService/Send`."""
        return CallMetrics(method, self._calls, self._open_calls, self._open_streams, streaming=streaming)

    def sent(self, result: str, records: int = 1) -> None:
        """`result` is ACCEPTED, DEDUPLICATED or a Reason."""
        self._sends[result].inc(records)

    def send_took(self, seconds: float) -> None:
        """One batch, from its arrival until its receipts are ready."""
        self._send_latency.observe(seconds)

    def delivered(self, records: int, oldest_seconds: float) -> None:
        """A batch was given to a reader, `oldest_seconds` after its oldest record was accepted."""
        self._delivered.inc(records)
        self._deliver_latency.observe(max(0.0, oldest_seconds))

    def output_stored(self, records: int) -> None:
        """Output records of a run are on disk."""
        self._outputs.inc(records)

    def committed(self, operations: int, seconds: float) -> None:
        """The store committed a transaction of that many operations. Any thread may call this."""
        self._commit_batch.observe(operations)
        self._commit_time.observe(seconds)

    def set_snapshot(self, snapshot: Snapshot) -> None:
        for state in State:
            self._runs.labels(state.name).set(snapshot.runs_by_state.get(state, 0))
        for kind in TimerKind:
            self._timers.labels(kind.name).set(snapshot.timers_by_kind.get(kind, 0))
        self._waits.set(snapshot.runs_by_state.get(State.SUSPENDED, 0))

    def set_demand(self, demand: Demand) -> None:
        for gauge, runs_by_task in ((self._queue_depth, demand.queued), (self._assigned, demand.assigned)):
            gauge.clear()  # A task that has no such run any more must not stay at its last number.
            for task, runs in runs_by_task.items():
                gauge.labels(task).set(runs)
