"""For tests of programs that use Midstream: a server and a worker in the test's own process, and a clock to move."""

from midstream.testing.local_server import LocalServer, local_server
from midstream.worker.in_process import in_process_worker

__all__ = ["LocalServer", "in_process_worker", "local_server"]
