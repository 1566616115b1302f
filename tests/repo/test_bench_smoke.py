"""Every figure of the bench runs and reports in the same shape. Times are not looked at: they mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.peers import installation

ROOT = Path(__file__).resolve().parents[2]

EXPECTED = {
    "one_at_a_time": {"one_at_a_time"},
    "pipelined_send": {"pipelined_frames", "pipelined_send_many"},
    "idle_subscriptions": {"idle_subscription_memory", "idle_subscription_latency"},
    "unary_send": {"unary_send_latency", "unary_send_rate"},
    "typed_send": {"typed_send_message", "typed_send_transcoded", "typed_send_json"},
    "backlog": {"backlog_subscribe", "backlog_tail", "backlog_handler"},
    "resume": {"resume_10", "resume_20"},
    "suspended_runs": {"suspended_run_memory", "suspended_run_latency"},
    "managed_run": {"step", "managed_handler", "cancel"},
    "node_send": {"node_send_grpc", "node_send_connect"},
    "typescript_run": {
        "typescript_resume",
        "typescript_start",
        "typescript_memory",
        "typescript_ten_resumes",
    },
    "web_unary": {"web_unary_latency", "web_unary_rate"},
    "web_idle": {"web_idle_tail_memory", "web_idle_socket_memory", "web_idle_latency"},
    "output": {"output_latency", "output_rate"},
    "many_servers": {"append_1_servers", "append_2_servers", "append_3_servers", "across_servers"},
    "million_suspended": {"wake_among_many", "server_of_many"},
    "many_lives": {"lives_memory", "lives_rate"},
    "managed_rate": {"warm_run_memory", "run_lives"},
}
if installation.installed():
    EXPECTED["peers"] = {"one_at_a_time", "managed_handler", "resume_10", "resume_20"}


@pytest.mark.parametrize("group", EXPECTED)
def test_a_group_of_figures_reports_each_beside_its_limit(group: str, tmp_path: Path) -> None:
    out = tmp_path / "latest.json"

    ran = subprocess.run(
        [sys.executable, "-m", "bench", group, "--smoke", "--markdown", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    result = json.loads(out.read_text())
    assert result["smoke"] is True
    assert {"cpu", "cores", "file_system"} <= result["machine"].keys()
    assert {"python", "sqlite", "grpcio", "midstream-server"} <= result["versions"].keys()
    assert {figure["name"] for figure in result["figures"]} == EXPECTED[group]
    for figure in result["figures"]:
        _check(figure)
        assert bool(figure["peers"]) == (group == "peers")
        assert figure["title"] in ran.stdout


def _check(figure: dict[str, Any]) -> None:
    assert figure["unit"]
    assert figure["ours"]["p50"] is not None
    assert (figure["aim"] is None) == (figure["ok"] is None)
    if figure["limit"] is None:
        assert figure["ratio"] is None
    else:
        assert figure["limit"]["title"]
        assert len(figure["limit"]["repeats"]) == len(figure["ours"]["repeats"])
        assert figure["ratio_low"] <= figure["ratio_high"]
    for peer in figure["peers"]:
        assert peer["title"]
        assert len(peer["repeats"]) == len(figure["ours"]["repeats"])
        assert peer["ratio_low"] <= peer["ratio_high"]


def test_a_trace_of_resumes_names_each_hop() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.trace", "--resumes", "2"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    for hop in ("server: on disk", "worker: assignment parsed", "child: the task has its record", "whole"):
        assert f"| {hop} |" in ran.stdout


def test_an_unknown_figure_is_named() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert "no such figure: nonsense" in ran.stderr
