"""The kustomizations: rendered by kubectl without a cluster, valid by Kubernetes' schemas, and consistent."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from midstream_server.settings import Settings, env_name
from midstream_server.store import Demand
from midstream_server.telemetry.metrics import Metrics

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
SCHEMAS = Path(__file__).parent / "schemas"
FOREIGN = {"ScaledObject": "keda_scaled_object.json", "ServiceMonitor": "service_monitor.json"}
"""Kinds that Kubernetes itself does not have."""
FOLDERS = sorted(path.parent.name for path in KUBERNETES.glob("*/kustomization.yaml"))
OLDEST, NEWEST = "1.34", "1.37"
"""`sleep` before a stop is stable since 1.34."""


@cache
def rendered(folder: str) -> list[Any]:
    command: list[str | Path] = [Path(sys.executable).parent / "kubectl", "kustomize", KUBERNETES / folder]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert not built.stderr, "kustomize warns"
    return list(yaml.safe_load_all(built.stdout))


def one(folder: str, kind: str) -> Any:
    (found,) = [each for each in rendered(folder) if each["kind"] == kind]
    return found


def of_kind(kind: str) -> list[Any]:
    return [each for each in rendered("base") if each["kind"] == kind]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubernetes_takes_it(folder: str, version: str) -> None:
    assert rendered(folder)
    for resource in rendered(folder):
        if resource["kind"] in FOREIGN:
            schema = json.loads((SCHEMAS / FOREIGN[resource["kind"]]).read_text())
            jsonschema_rs.validator_for(schema, validate_formats=True).validate(resource)
        else:
            kubernetes_validate.validate(resource, version, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    deployment = json.loads(json.dumps(one("base", "Deployment")))
    deployment["spec"]["template"]["spec"]["terminationGraceSeconds"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


def pod_labels() -> Any:
    return one("base", "Deployment")["spec"]["template"]["metadata"]["labels"]


def test_services_and_the_budget_select_the_servers() -> None:
    selectors = [service["spec"]["selector"] for service in of_kind("Service")]
    selectors.append(one("base", "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    for selector in selectors:
        assert selector
        assert selector.items() <= pod_labels().items()


def test_probes_and_services_name_ports_that_the_image_opens() -> None:
    (server,) = one("base", "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    dockerfile = (KUBERNETES.parent / "Dockerfile").read_text()
    assert sorted(ports.values()) == sorted(map(int, re.findall(r"0\.0\.0\.0:(\d+)", dockerfile)))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["grpc"]["port"] == ports["grpc"]
    for service in of_kind("Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]


def test_a_stop_is_never_a_kill() -> None:
    pod = one("base", "Deployment")["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    drain = next(each["value"] for each in server["env"] if each["name"] == "MIDSTREAM_DRAIN_SECONDS")
    pause = server["lifecycle"]["preStop"]["sleep"]["seconds"]
    readiness = server["readinessProbe"]
    assert pod["terminationGracePeriodSeconds"] >= pause + int(drain) + 5
    assert pause > readiness["periodSeconds"]


@pytest.mark.parametrize("folder", ["base", "create-key"])
def test_every_variable_is_a_setting_and_the_password_a_secret(folder: str) -> None:
    known = {env_name(field) for field in Settings.model_fields}
    kind = "Deployment" if folder == "base" else "Job"
    pod = one(folder, kind)["spec"]["template"]["spec"]
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        variables = {each["name"]: each for each in container["env"]}
        assert variables.keys() <= known
        assert variables["MIDSTREAM_STORE"]["valueFrom"]["secretKeyRef"] == {"name": "midstream-database", "key": "url"}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_operator_scrapes_each_server_once() -> None:
    monitor = one("service-monitor", "ServiceMonitor")["spec"]
    ports = {endpoint["port"] for endpoint in monitor["endpoints"]}
    chosen = [
        service
        for service in of_kind("Service")
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert len(chosen) == 2
    (scraped,) = [each for each in chosen if ports & {port["name"] for port in each["spec"]["ports"]}]
    assert scraped["spec"]["clusterIP"] == "None"


def test_workers_are_scaled_by_metrics_that_the_server_tells() -> None:
    (trigger,) = one("workers-from-zero", "ScaledObject")["spec"]["triggers"]
    names = set(re.findall(r"midstream_\w+", trigger["metadata"]["query"]))
    metrics = Metrics()
    metrics.set_demand(Demand({"research": 1}, {"research": 1}))
    told = {sample.name: sample.labels for family in metrics.registry.collect() for sample in family.samples}
    assert names == {"midstream_queue_depth", "midstream_assigned_runs"}
    assert all(told[name] == {"task": "research"} for name in names)
    assert 'task="research"' in trigger["metadata"]["query"]


def test_the_scaled_deployment_takes_as_many_runs_as_the_threshold_says() -> None:
    worker, scaled = one("workers-from-zero", "Deployment"), one("workers-from-zero", "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert scaled["minReplicaCount"] == 0
    assert "replicas" not in worker["spec"]
    pod = worker["spec"]["template"]["spec"]
    command = pod["containers"][0]["command"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options["--credit"] == scaled["triggers"][0]["metadata"]["threshold"]
    assert pod["terminationGracePeriodSeconds"] > int(options["--drain-timeout"].removesuffix("s"))
