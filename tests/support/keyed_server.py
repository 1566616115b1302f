"""A real server that asks for credentials: two API keys of two namespaces, and the command line that makes more."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import midstream
from midstream_server.keys_command import create_key
from support.server_process import ServerProcess


class KeyedServer(ServerProcess):
    """`key` is of the namespace `default` and named `backend`; `other_key` is of the namespace `other`."""

    def __init__(
        self,
        directory: Path,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        listen: str = "127.0.0.1:0",
        with_keys: bool = True,
    ) -> None:
        super().__init__(directory, args=args, env=env, listen=listen)
        self.key = self.create_key("backend") if with_keys else ""
        self.other_key = self.create_key("stranger", namespace="other") if with_keys else ""

    def create_key(self, name: str, *, namespace: str = "default") -> str:
        """The text of a new API key, as `midstream-server keys create` would print it."""
        return create_key(self.database, namespace, name)

    def revoke_key(self, key: str) -> None:
        self.keys("revoke", key.split("_")[1])

    def keys(self, *arguments: str) -> str:
        """What `midstream-server keys` prints on standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "midstream_server", "keys", *arguments, "--database", str(self.database)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


async def reason_for(url: str, secret: str, run_id: str) -> str:
    """Why the server refuses to show the run to whoever has `secret`; OK where it shows it. It never repeats it."""
    async with midstream.connect(url, access_token=secret) as client:
        try:
            await client.get_run(run_id)
        except midstream.MidstreamError as error:
            if secret in str(error) or any(secret in value for value in error.metadata.values()):
                return f"{error.reason}, with the secret in it"
            return error.reason
    return "OK"
