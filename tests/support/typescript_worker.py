"""A real worker for tasks in TypeScript, as built in client_ts/dist (`make test-ts` builds it)."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.worker_process import WorkerProcess

CLIENT = Path(__file__).parent.parent.parent / "client_ts"
COMMAND = CLIENT / "dist/worker/cli/main.js"


class TypeScriptWorker(WorkerProcess):
    """As WorkerProcess, with the same events. `modules` are relative to client_ts."""

    def __init__(self, url: str, *modules: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        super().__init__(url, CLIENT, env=env)
        node = node_program()
        assert COMMAND.exists(), f"{COMMAND} is not built: run `make test-ts` once"
        self._command = [node, str(COMMAND), "worker", *modules, "--log-format", "json", *args]


def node_program() -> str:
    node = shutil.which("node")
    assert node is not None, "the tests of TypeScript tasks need Node 20 or newer on the PATH"
    return node
