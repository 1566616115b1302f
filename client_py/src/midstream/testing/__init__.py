"""For tests of programs that use Midstream: a server in the test's own process, and a clock that the test moves."""

from midstream.testing.local_server import LocalServer, local_server

__all__ = ["LocalServer", "local_server"]
