"""Starts the servers for a suite in another language: `PYTHONPATH=tests python -m support.conformance.serve sqlite`.

Prints one line of JSON when all serve: for each kind of server `url`, `webUrl` and `variables`. Each line that comes in
on stdin does something to the server of the kind `own` (`drain`, `kill`, `start`), and is answered with an empty line
when it is done. Ends with stdin.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.conformance.servers import STORES, played_servers
from support.postgres import Databases, Postgres


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in STORES:
        print(f"name one store: {' or '.join(STORES)}", file=sys.stderr)
        return 2
    (store,) = arguments
    with (
        tempfile.TemporaryDirectory(prefix="midstream-conformance-") as directory,
        _databases(store) as databases,
        played_servers(Path(directory), databases) as servers,
    ):
        print(json.dumps({kind: server.described() for kind, server in servers.items()}), flush=True)
        for line in sys.stdin:
            servers["own"].do(line.strip())
            print(flush=True)
    return 0


@contextlib.contextmanager
def _databases(store: str) -> Iterator[Databases | None]:
    if store == "sqlite":
        yield None
        return
    with Postgres() as server:
        yield Databases(server)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
