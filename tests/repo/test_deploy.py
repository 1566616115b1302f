"""The files under deploy/ fit the server that they run."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from midstream_server.settings import Settings, env_name
from support.certificates import Authority
from support.server_process import ServerProcess

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def probe(target: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEPLOY / "healthcheck.py"), target]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_health_probe_tells_a_serving_server_from_none(server_process: ServerProcess) -> None:
    target = server_process.url.removeprefix("grpc://")
    serving = probe(target)
    assert (serving.returncode, serving.stdout) == (0, f"{target}: SERVING\n")

    assert server_process.terminate() == 0
    gone = probe(target)
    assert gone.returncode == 1
    assert "UNAVAILABLE" in gone.stderr


def test_a_server_that_does_not_know_the_health_service_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert probe(f"127.0.0.1:{silent.getsockname()[1]}").returncode == 1


def test_a_server_with_tls_is_asked_over_http(tmp_path: Path) -> None:
    certificate = Authority(tmp_path, "authority").server()
    tls = {"MIDSTREAM_TLS_CERT": str(certificate.cert_file), "MIDSTREAM_TLS_KEY": str(certificate.key_file)}
    command = [sys.executable, str(DEPLOY / "healthcheck.py")]
    with ServerProcess(tmp_path, env=tls) as server:
        metrics = server.metrics_url.partition("://")[2].partition("/")[0]
        env = {**os.environ, **tls, "MIDSTREAM_METRICS_LISTEN": metrics}
        assert subprocess.run(command, env=env, check=False, capture_output=True).returncode == 0
        server.terminate()
    assert subprocess.run(command, env=env, check=False, capture_output=True).returncode == 1


def test_every_variable_in_the_files_is_a_setting() -> None:
    known = {env_name(field) for field in Settings.model_fields} | {"MIDSTREAM_BY_VERSION"}
    for name in ("Dockerfile", "compose.yaml", "compose.sqlite.yaml", "README.md", "healthcheck.py", "install-server"):
        used = set(re.findall(r"MIDSTREAM_[A-Z_]+", (DEPLOY / name).read_text()))
        assert used <= known, name
