"""The dashboard asks for nothing that the server does not tell."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from midstream_server.domain.run import State
from midstream_server.store import Demand, Snapshot
from midstream_server.telemetry.metrics import Metrics

GRAFANA = Path(__file__).resolve().parents[2] / "deploy/grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/midstream.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""


def told() -> dict[str, set[str]]:
    """The labels of every sample that a server has told once, by its name."""
    metrics = Metrics()
    metrics.for_method("/a.B/C", streaming=False).started()
    metrics.for_method("/a.B/C", streaming=False).ended("OK")
    metrics.for_method("/a.B/S", streaming=True).started()
    metrics.set_snapshot(Snapshot({State.QUEUED: 1}, {}))
    metrics.set_demand(Demand({"t": 1}, {"t": 1}))
    return labels_by_name(metrics.registry)


def labels_by_name(registry: CollectorRegistry) -> dict[str, set[str]]:
    return {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:midstream|process)_\w+", expression))


def test_there_is_a_panel_for_every_metric_of_the_server() -> None:
    shown = set().union(*map(metrics_in, EXPRESSIONS))
    families = {re.sub("_(bucket|sum|count|total|created)$", "", name) for name in told() if "midstream_" in name}
    assert families == {re.sub("_(bucket|sum|count|total)$", "", name) for name in shown if "midstream_" in name}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_panel_asks_for_what_the_server_tells(expression: str) -> None:
    known = told()
    names = metrics_in(expression)
    assert names
    assert names <= known.keys()
    labels = set().union(*(known[name] for name in names)) | SCRAPED
    for used in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in used.split(",")} <= labels
    assert all(label in labels for label in re.findall(r"(\w+)=~?\"", expression))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_names_its_series_by_labels_that_are_left(panel: Any) -> None:
    for target in panel["targets"]:
        kept = {name.strip() for used in re.findall(r"by \(([^)]*)\)", target["expr"]) for name in used.split(",")}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept | SCRAPED


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def test_it_is_provisioned_with_its_source() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/midstream.yaml").read_text())["providers"]
    compose = yaml.safe_load((GRAFANA.parent / "compose.yaml").read_text())
    mounted = {volume.split(":")[0]: volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]}
    assert mounted == {
        "./grafana/provisioning": "/etc/grafana/provisioning",
        "./grafana/dashboards": provider["options"]["path"],
    }
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/midstream.json"
    assert source["url"] == "http://prometheus:9090"
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
