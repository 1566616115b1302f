"""The image's build, without a container engine: what the Dockerfile copies is enough for the script that it runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def build_context(destination: Path) -> None:
    """What the Dockerfile's first stage has."""
    stage, _, _ = DOCKERFILE.partition("\nFROM python:3.12-slim\n")
    for line in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            place = destination / target / Path(source).name if target.endswith("/") else destination / target
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, place)


def test_what_the_image_is_built_from_is_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert sorted(" ".join(copied).split()) == sorted(kept)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_server_is_installed_and_serves(tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "midstream"
    build_context(source)
    (command,) = re.findall(r"^RUN .*(deploy/install-server) /opt/midstream$", DOCKERFILE, re.MULTILINE)
    env = {**os.environ, "PYTHON": sys.executable, "PIP_NO_COMPILE": "1", "PYTHONPATH": ""}
    built = subprocess.run([command, installed], cwd=source, env=env, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr

    addresses = [f"--{each}=127.0.0.1:0" for each in ("listen", "web-listen", "metrics-listen")]
    server = subprocess.Popen(
        [installed / "bin/midstream-server", *addresses, "--database", tmp_path / "m.db", "--log-format", "json"],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        (url,) = re.findall(r'"grpc://([^"]+)"', next(line for line in server.stdout if "server_started" in line))
        probe = [installed / "bin/python", installed / "healthcheck.py", url]
        assert subprocess.run(probe, env=env, check=False).returncode == 0
    finally:
        server.terminate()
        server.communicate()
    assert server.returncode == 0
