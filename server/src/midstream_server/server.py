"""The server, assembled: store, operations, servicers, health, reflection, metrics; started and drained."""

import asyncio
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from midstream.clock import Clock, ManualClock
from midstream.v1 import (
    run_service_pb2,
    schema_service_pb2,
    stream_service_pb2,
    token_service_pb2,
    worker_service_pb2,
)
from midstream_server import listening
from midstream_server.agreed_clock import AgreedClock
from midstream_server.domain.errors import Refused
from midstream_server.drain import Drain
from midstream_server.listening import reachable
from midstream_server.operations.core import Core
from midstream_server.operations.gate import Gate
from midstream_server.operations.hub import Hub
from midstream_server.operations.pauses import Pauses
from midstream_server.operations.replica import Replica
from midstream_server.operations.schemas import Schemas
from midstream_server.operations.timekeeper import Timekeeper
from midstream_server.operations.work.dispatcher import Dispatcher
from midstream_server.settings import Settings, split_address
from midstream_server.store import CommitReport, DatabaseUnusable
from midstream_server.store.credentials import CredentialStore
from midstream_server.store.opening import open_store
from midstream_server.telemetry import log
from midstream_server.telemetry.http import MetricsHttp
from midstream_server.telemetry.metrics import Metrics
from midstream_server.telemetry.stored import Source
from midstream_server.transport.guard import CallGuard
from midstream_server.transport.interceptor import CallInterceptor
from midstream_server.transport.register import register
from midstream_server.transport.run_service import RunServicer
from midstream_server.transport.schema_service import SchemaServicer
from midstream_server.transport.stream_service import StreamServicer
from midstream_server.transport.tls import TlsUnusable, grpc_credentials, ssl_context
from midstream_server.transport.token_service import TokenServicer
from midstream_server.transport.worker_service import WorkerServicer
from midstream_server.web.app import WebApp
from midstream_server.web.listener import WebListener
from midstream_server.web.methods import browser_methods
from midstream_server.web.origins import Origins

STREAM_SERVICE: Final = stream_service_pb2.DESCRIPTOR.services_by_name["StreamService"]
RUN_SERVICE: Final = run_service_pb2.DESCRIPTOR.services_by_name["RunService"]
WORKER_SERVICE: Final = worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"]
TOKEN_SERVICE: Final = token_service_pb2.DESCRIPTOR.services_by_name["TokenService"]
SCHEMA_SERVICE: Final = schema_service_pb2.DESCRIPTOR.services_by_name["SchemaService"]
SERVICES: Final = tuple(
    service.full_name for service in (STREAM_SERVICE, RUN_SERVICE, WORKER_SERVICE, TOKEN_SERVICE, SCHEMA_SERVICE)
)

MAX_REQUEST_BYTES: Final = 5 * 1024 * 1024
"""A batch is 1 MiB and a run's payload another; a larger one must get PAYLOAD_TOO_LARGE rather than a bare code."""

OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    # Beyond its defaults of some 1,000, gRPC cancels calls at random in a burst, such as a storm of reconnects.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    # A second server on the same port is to fail, not to take half of the connections.
    ("grpc.so_reuseport", 0),
    # Finds peers that vanished without a word, so that their subscriptions end.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    # Clients on idle streams may ping as often as they need to keep a proxy's connection open.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)

QUIET_SECONDS: Final = 0.02
LINGER_SECONDS: Final = 1.0
"""gRPC cuts off calls that arrive as it stops with a bare CANCELLED. So it stops only once nothing has come for the
shorter time: who calls until then is told to go elsewhere. After the longer time it stops anyway: some never listen."""

REST_GRACE_SECONDS: Final = 0.2
"""For what remains when our own calls have ended: last responses on their way, and watchers of the health service."""


Servicers = list[tuple[ServiceDescriptor, object]]


class StartError(Exception):
    """The server cannot start here; the message says why and what to do."""


class Server:
    """One Midstream server on the running loop. Several may share a process, each with its own database."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock: Clock = AgreedClock() if clock is None else clock
        self.metrics = Metrics()
        self.drain = Drain()
        self._hub = Hub(self.clock)
        self.port = 0
        self.web_port: int | None = None
        self.metrics_port: int | None = None
        self.gate = Gate(self.clock, settings.token_limits)
        self._guard = CallGuard(self.metrics, self.drain, self.gate.authenticate)
        self._health = health.aio.HealthServicer()
        self._running = AsyncExitStack()
        self._stopped: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"{'grpc' if self.settings.tls is None else 'grpcs'}://{reachable(self.settings.listen, self.port)}"

    @property
    def web_url(self) -> str | None:
        if self.web_port is None:
            return None
        scheme = "http" if self.settings.web_tls is None else "https"
        return f"{scheme}://{reachable(self.settings.web_listen, self.web_port)}"

    @property
    def metrics_url(self) -> str | None:
        if self.metrics_port is None:
            return None
        return f"http://{reachable(self.settings.metrics_listen, self.metrics_port)}/metrics"

    async def start(self) -> None:
        """Serves when it returns. Raises StartError, with nothing left open, where it cannot."""
        async with AsyncExitStack() as started:
            grpc_server = grpc.aio.server(interceptors=[CallInterceptor(self._guard)], options=OPTIONS)
            core = await self._start_core(started)
            self.port = _bind(grpc_server, self.settings)
            self._start_metrics(started, source=core.store)
            servicers = self._servicers(core)
            await self._add_services(grpc_server, servicers)
            await self._start_web(started, servicers)
            await grpc_server.start()
            started.push_async_callback(self._stop_calls, grpc_server)
            self._running = started.pop_all()

    async def stop(self) -> None:
        """Takes no new calls, tells the open ones to end, waits `drain_seconds` for them, and closes. Idempotent."""
        if self._stopped is None:
            self._stopped = asyncio.create_task(self._running.aclose())
        await asyncio.shield(self._stopped)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def advance(self, duration_us: int) -> None:
        """Moves the ManualClock that the server was made with, and completes every timer that came due."""
        if not isinstance(self.clock, ManualClock):
            raise TypeError("only a server with a ManualClock can be advanced")
        self.clock.advance(duration_us)
        await self.gate.look()
        await self._timekeeper.run_due()

    async def _start_core(self, started: AsyncExitStack) -> Core:
        hub = self._hub

        def on_commit(report: CommitReport) -> None:
            self.metrics.committed(report.operations, report.seconds)
            hub.ring(report.changes)

        dispatcher = Dispatcher()
        try:
            store = await open_store(
                self.settings.place,
                limits=self.settings.limits,
                periods=self.settings.periods,
                on_commit=on_commit,
                seats=dispatcher,
            )
        except DatabaseUnusable as error:
            raise StartError(str(error)) from None
        started.push_async_callback(store.close)
        await self._open_gate(started, store.credentials)
        pauses = Pauses(tolerated_us=self.settings.lease // 2)
        self._timekeeper = Timekeeper(
            store,
            store.managed,
            hub,
            self.clock,
            pauses,
            lease_us=self.settings.lease,
            unheld_expiry_us=self.settings.unheld_expiry,
        )
        schemas = Schemas(store.schemas, max_payload_bytes=self.settings.limits.max_payload_bytes)
        started.push_async_callback(schemas.close)
        replica = Replica(
            store,
            store.managed,
            hub=hub,
            dispatcher=dispatcher,
            timekeeper=self._timekeeper,
            clock=self.clock,
            lease_us=self.settings.lease,
            unheld_expiry_us=self.settings.unheld_expiry,
            schemas_changed=schemas.forget,
        )
        try:
            await replica.start()
        except Refused as refused:
            raise StartError(refused.message) from None
        started.push_async_callback(replica.stop)
        self._timekeeper.start()
        started.push_async_callback(self._timekeeper.stop)
        return Core(
            store=store,
            managed=store.managed,
            outputs=store.outputs,
            schemas=schemas,
            dispatcher=dispatcher,
            hub=hub,
            gate=self.gate,
            clock=self.clock,
            drain=self.drain,
            metrics=self.metrics,
            timers_changed=self._timekeeper.timers_changed,
        )

    async def _open_gate(self, started: AsyncExitStack, credentials: CredentialStore) -> None:
        await self.gate.open(credentials, may_be_open=listening.may_be_open(self.settings))
        started.push_async_callback(self.gate.close)
        if not self.gate.has_keys and self.gate.asks:
            raise StartError(listening.refusal(self.settings))
        if not self.gate.asks:
            log.server_is_open(listen=self.settings.listen)

    def _servicers(self, core: Core) -> Servicers:
        limits = self.settings.limits
        return [
            (STREAM_SERVICE, StreamServicer(core, limits)),
            (RUN_SERVICE, RunServicer(core, limits)),
            (WORKER_SERVICE, WorkerServicer(core, limits, lease_us=self.settings.lease)),
            (TOKEN_SERVICE, TokenServicer(core)),
            (SCHEMA_SERVICE, SchemaServicer(core)),
        ]

    async def _add_services(self, grpc_server: grpc.aio.Server, servicers: Servicers) -> None:
        for service, servicer in servicers:
            register(grpc_server, service, servicer)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, grpc_server)
        for name in SERVICES:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        reflected = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(reflected, grpc_server)

    async def _start_web(self, started: AsyncExitStack, servicers: Servicers) -> None:
        if not self.settings.web_listen:
            return
        methods = browser_methods(self._guard, [each for each in servicers if each[0] is not WORKER_SERVICE])
        try:
            tls = None if self.settings.web_tls is None else ssl_context(self.settings.web_tls)
        except TlsUnusable as error:
            raise StartError(str(error)) from None
        listener = WebListener(WebApp(methods, Origins(self.settings.web_origin_list)), tls=tls)
        host, port = split_address(self.settings.web_listen)
        try:
            self.web_port = listener.bind(host, port)
        except OSError as error:
            raise StartError(_busy("web_listen", self.settings.web_listen, error.strerror)) from None
        started.push_async_callback(listener.stop)
        await listener.start()

    def _start_metrics(self, started: AsyncExitStack, *, source: Source | None) -> None:
        if not self.settings.metrics_listen:
            return
        host, port = split_address(self.settings.metrics_listen)
        http = MetricsHttp(self.metrics, healthy=lambda: not self.drain.is_set, source=source)
        try:
            self.metrics_port = http.start(host, port)
        except OSError as error:
            raise StartError(_busy("metrics_listen", self.settings.metrics_listen, error.strerror)) from None
        started.push_async_callback(http.stop)

    async def _stop_calls(self, grpc_server: grpc.aio.Server) -> None:
        self.drain.set()
        self._hub.ring_all()
        await self._health.enter_graceful_shutdown()
        try:
            async with asyncio.timeout(self.settings.drain_seconds):
                await self._guard.idle()
        except TimeoutError:
            log.drain_timed_out(open_calls=self._guard.open_calls)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._guard.quiet(QUIET_SECONDS)
        await grpc_server.stop(REST_GRACE_SECONDS)


def _bind(grpc_server: grpc.aio.Server, settings: Settings) -> int:
    try:
        if settings.tls is None:
            return grpc_server.add_insecure_port(settings.listen)
        return grpc_server.add_secure_port(settings.listen, grpc_credentials(settings.tls))
    except TlsUnusable as error:
        raise StartError(str(error)) from None
    except RuntimeError:
        problem = "address in use, not of this machine, or not permitted"
        raise StartError(_busy("listen", settings.listen, problem)) from None


def _busy(setting: str, address: str, problem: str | None) -> str:
    flag = setting.replace("_", "-")
    return f"cannot listen on {address} ({problem}); stop what listens there, or choose another address with --{flag}"
