"""`/metrics` for Prometheus and `/healthz` for probes, over plain HTTP on a port of its own."""

import asyncio
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import MetricsHandler

from midstream_server.telemetry import log
from midstream_server.telemetry.metrics import Metrics
from midstream_server.telemetry.stored import Source, StoredGauges

MAX_CONNECTIONS: Final = 16
CONNECTION_SECONDS: Final = 5.0
REFRESH_SECONDS: Final = 5.0


class MetricsHttp:
    """Serves in threads of its own, so that a slow scrape never holds up a call.

    `healthy` is asked from those threads; the store is asked on the loop of `start`.
    """

    def __init__(self, metrics: Metrics, *, healthy: Callable[[], bool], source: Source | None) -> None:
        self._metrics = metrics
        self._healthy = healthy
        self._stored = None if source is None else StoredGauges(metrics, source)

    def start(self, host: str, port: int) -> int:
        """Listens, and returns the port. Raises OSError where the address is not free."""
        self._loop = asyncio.get_running_loop()
        handler = type("Handler", (_Handler,), {"registry": self._metrics.registry, "owner": self})
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = type("Server", (_BoundedServer,), {"address_family": family})((host, port), handler)
        # The poll interval is how long `shutdown` waits.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        bound: int = self._server.server_address[1]
        return bound

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        self._thread.join()
        if self._stored is not None:
            await self._stored.stop()

    def healthy(self) -> bool:
        return self._healthy()

    def refresh(self) -> None:
        """Brings the gauges that come from the store up to date. Blocks; never on the loop's thread."""
        if self._stored is None:
            return
        refreshed = asyncio.run_coroutine_threadsafe(self._stored.refresh(), self._loop)
        try:
            refreshed.result(REFRESH_SECONDS)
        except Exception as error:
            refreshed.cancel()
            log.snapshot_failed(error=error)


class _BoundedServer(ThreadingHTTPServer):
    """At most MAX_CONNECTIONS at once; further ones are closed unanswered."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * MAX_CONNECTIONS

    def __init__(self, *args: Any) -> None:
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        super().__init__(*args)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which looks the host's name up in the DNS and may hang there.
        socket_address = self.server_address
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(socket_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hung up in the middle is nothing to report."""


class _Handler(MetricsHandler):
    owner: MetricsHttp
    timeout = CONNECTION_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self.owner.refresh()
            super().do_GET()
        elif path == "/healthz":
            healthy = self.owner.healthy()
            self._answer(HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE, "ok" if healthy else "draining")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "there are /metrics and /healthz")

    def _answer(self, status: HTTPStatus, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
