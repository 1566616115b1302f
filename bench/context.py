"""What every figure works with: the server and the bare echo, both running, and a place on the same disk."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.limits.echo import EchoClient
from bench.processes import Child
from bench.sizes import Sizes


@dataclass(frozen=True)
class Context:
    """Handed to each figure. Whatever a figure starts, it puts on `cleanup`."""

    sizes: Sizes
    directory: Path
    server: Child
    echo: EchoClient
    cleanup: AsyncExitStack
    with_peers: bool = False
    """Whether figures that have a peer measure it, too."""

    @property
    def url(self) -> str:
        return str(self.server.ready["url"])

    @property
    def address(self) -> str:
        """The server as a gRPC target."""
        return self.url.removeprefix("grpc://")
