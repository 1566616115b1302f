"""The servers that the vectors run against, all on one kind of store."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from midstream_server.keys_command import create_key
from support.conformance.vector import load_server_env
from support.postgres import Databases
from support.server_process import ServerProcess

STORES: Final = ("sqlite", "postgres")


class PlayedServer:
    """A server process with what the vectors know of it: its API keys, and what they may do to it."""

    def __init__(self, process: ServerProcess, keys: dict[str, str]) -> None:
        self.process = process
        self.keys = keys
        """The variables `apiKey` and `otherKey`; none where the server is open."""
        self._is_up = True

    @property
    def address(self) -> str:
        return self.process.url.removeprefix("grpc://")

    def do(self, command: str) -> None:
        """`drain`: SIGTERM. `kill`: SIGKILL. `start`: where it does not run, on the same address; blocks."""
        match command:
            case "drain":
                self.process.send_signal(signal.SIGTERM)
                self._is_up = False
            case "kill":
                self.process.send_signal(signal.SIGKILL)
                self._is_up = False
            case "start":
                if not self._is_up:
                    self.process.wait()
                    self.process.start()
                    self._is_up = True
            case _:
                raise ValueError(f"a server can drain, be killed and start, not {command!r}")

    def described(self) -> dict[str, Any]:
        return {"url": self.process.url, "webUrl": self.process.web_url, "variables": self.keys}


@contextmanager
def played_servers(directory: Path, databases: Databases | None) -> Iterator[dict[str, PlayedServer]]:
    """The server of each kind: `open`, `keyed`, and `own`, which vectors may stop. Without databases: on SQLite."""
    with ExitStack() as running:
        servers = {}
        for kind in ("open", "keyed", "own"):
            home = directory / kind
            home.mkdir()
            place: Path | str = home / "midstream.db" if databases is None else running.enter_context(databases.one())
            url = f"sqlite:///{place}" if isinstance(place, Path) else place
            keys = {}
            if kind == "keyed":
                keys["apiKey"] = create_key(place, "default", "backend")
                keys["otherKey"] = create_key(place, "other", "stranger")
            process = running.enter_context(ServerProcess(home, args=["--store", url], env=load_server_env()))
            servers[kind] = PlayedServer(process, keys)
        yield servers
