"""Figures beside their peers: asked for in vain, and reported. Installed ones are measured by test_bench_smoke.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench.measure import Beside, Figure, latencies
from bench.report import to_json, to_markdown

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("asked", ["peers", "--peers"])
def test_without_the_peers_one_sentence_says_what_to_run(tmp_path: Path, asked: str) -> None:
    shutil.copytree(ROOT / "bench", tmp_path / "bench", ignore=shutil.ignore_patterns(".venv", "node_modules"))
    (tmp_path / "tests").symlink_to(ROOT / "tests")

    command = [sys.executable, "-m", "bench", asked, "--smoke"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ran.returncode == 2
    assert "the peers are not installed: run `make bench-peers`" in ran.stderr.splitlines()[-1]


def test_a_figure_reports_its_peer_beside_itself() -> None:
    figure = Figure(
        name="send",
        title="Send",
        unit="ms",
        ours=latencies([[2.0], [3.0], [4.0]]),
        limit=latencies([[1.0], [1.0], [1.0]]),
        peers=(Beside("Other 1.0", latencies([[4.0], [4.0], [2.0]])),),
    )

    told = to_json(figure)
    [peer] = told["peers"]
    assert peer["title"] == "Other 1.0"
    assert (peer["ratio_low"], peer["ratio"], peer["ratio_high"]) == (0.5, 0.75, 2.0)
    assert (told["ratio_low"], told["ratio"], told["ratio_high"]) == (2.0, 3.0, 4.0)
    assert "| Send, ms (peer: Other 1.0) | 3 / 4 | 4 / 4 | 0.75, 0.50–2.00 |" in to_markdown([figure], {}, {})


def test_a_figure_without_a_peer_reports_none() -> None:
    figure = Figure(name="send", title="Send", unit="ms", ours=latencies([[2.0]]))

    assert to_json(figure)["peers"] == []
    assert "peer" not in to_markdown([figure], {}, {})
