"""A real worker for tasks in TypeScript, as built in client_ts/dist (`make test-ts` builds it)."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.worker_process import WorkerProcess

CLIENT = Path(__file__).parent.parent.parent / "client_ts"
COMMAND = CLIENT / "dist/worker/cli/main.js"


def node_program() -> str:
    node = shutil.which("node")
    assert node is not None, "the tests of TypeScript tasks need Node 20 or newer on the PATH"
    return node


class _Worker(WorkerProcess):
    """`midstream worker`, which `command` is, started in `directory`."""

    def __init__(
        self,
        url: str,
        directory: Path,
        command: Path,
        *modules: str,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(url, directory, env=env)
        assert COMMAND.exists(), f"{COMMAND} is not built: run `make test-ts` once"
        self._command = [node_program(), str(command), "worker", *modules, "--json", *args]


class TypeScriptWorker(_Worker):
    """As WorkerProcess, with the same events. `modules` are relative to client_ts."""

    def __init__(self, url: str, *modules: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        super().__init__(url, CLIENT, COMMAND, *modules, args=args, env=env)


class TypeScriptProject:
    """A directory like a user's, with the client and tsx installed; its workers are started in it."""

    def __init__(self, directory: Path, *, tsx: bool = True) -> None:
        self.directory = directory
        modules = directory / "node_modules"
        (modules / "@midstream").mkdir(parents=True)
        (modules / "@midstream/client").symlink_to(CLIENT)
        if tsx:
            (modules / "tsx").symlink_to(CLIENT / "node_modules/tsx")
        self.write("package.json", '{"type": "module"}')

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def worker(
        self, url: str, *modules: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        command = self.directory / "node_modules/@midstream/client/dist/worker/cli/main.js"
        return _Worker(url, self.directory, command, *modules, args=args, env=env)
