"""The Makefile lists its targets, and what `make check` runs catches what it is there to catch."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (
    "constraints.txt",
    "scripts/generate-requirements.txt",
    "scripts/oldest-requirements.txt",
    "bench/peers/constraints.txt",
)


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def copy(target: Path, *paths: str) -> Path:
    """Copies files and folders of the repository into the folder `target`, to be broken there."""
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target / path)
        else:
            shutil.copy(ROOT / path, target / path)
    return target


def test_help_lists_every_target() -> None:
    targets = re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  make (\S+) +\S", run("make", "--no-print-directory").stdout, re.MULTILINE)
    assert listed == targets
    assert {"help", "demo", "test", "check", "generate", "bench", "clean"} <= set(targets)


@pytest.mark.parametrize("target", ["check-proto", "check-locks"])
def test_the_check_passes(target: str) -> None:
    result = run("make", "--no-print-directory", target)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_generated_code_is_current_and_a_stale_one_is_caught(tmp_path: Path) -> None:
    result = run("make", "--no-print-directory", "check-generated")
    assert result.returncode == 0, result.stdout + result.stderr

    in_python = ("client_py/src/midstream/v1", "client_py/src/midstream/include", "client_py/src/buf")
    committed = (*in_python, "client_ts/src/gen", "tests/acme")
    tree = copy(tmp_path, "proto", "third_party", *committed, "scripts/generate.py")
    (tree / "client_ts/node_modules").symlink_to(ROOT / "client_ts/node_modules")
    record = tree / "proto/midstream/v1/record.proto"
    record.write_text(record.read_text().replace("message Record {", "message Record {\n  string planted = 1000;", 1))
    (tree / "client_py/src/midstream/v1/gone_pb2.py").touch()
    (tree / "client_ts/src/gen/midstream/v1/gone_pb.ts").touch()
    stale = run(ROOT / ".venv-generate/bin/python", "scripts/generate.py", "--check", cwd=tree)
    assert stale.returncode == 1
    python, typescript = ["gone_pb2.py", "record_pb2.py", "record_pb2.pyi"], ["gone_pb.ts", "record_pb.ts"]
    assert re.findall(r"v1/(\S+);", stale.stderr) == python + typescript


@pytest.mark.parametrize(
    "line",
    ["--extra-index-url https://packages.example/simple", "rich @ https://files.example/rich.whl", "rich>=13", "rich"],
)
def test_a_lock_file_that_names_a_host_or_pins_nothing_is_caught(tmp_path: Path, line: str) -> None:
    tree = copy(tmp_path, "scripts/check-lock-files", *LOCKS)
    assert run(tree / "scripts/check-lock-files").returncode == 0
    with (tree / "constraints.txt").open("a") as constraints:
        constraints.write(f"{line}\n")
    caught = run(tree / "scripts/check-lock-files")
    assert caught.returncode == 1
    assert line in caught.stdout


def test_an_npm_lock_that_names_a_host_is_caught(tmp_path: Path) -> None:
    tree = copy(tmp_path, "scripts/check-lock-files", "client_ts/package-lock.json", *LOCKS)
    assert run(tree / "scripts/check-lock-files").returncode == 0
    lock = tree / "client_ts/package-lock.json"
    planted = '"resolved": "https://packages.example/esbuild.tgz"'
    lock.write_text(lock.read_text().replace('"dev": true', f'"dev": true, {planted}', 1))
    caught = run(tree / "scripts/check-lock-files")
    assert caught.returncode == 1
    assert planted in caught.stdout


def test_a_breaking_change_since_the_last_release_is_caught(tmp_path: Path) -> None:
    tree = copy(tmp_path, "proto", "third_party", "buf.yaml", "scripts/check-breaking")
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "release"), ("tag", "v0.1.0")):
        assert run(*git, *command, cwd=tree).returncode == 0
    check = ("env", f"BUF={shutil.which('buf', path=str(ROOT / '.venv/bin'))}", tree / "scripts/check-breaking")
    assert run(*check, cwd=tree).returncode == 0

    record = tree / "proto/midstream/v1/record.proto"
    record.write_text(re.sub(r" seq = \d+;", " seq = 999;", record.read_text(), count=1))
    broken = run(*check, cwd=tree)
    assert broken.returncode != 0
    assert "seq" in broken.stdout + broken.stderr
