"""Each package installs from a checkout on its own, into an environment that holds nothing else."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def new_environment(path: Path) -> Path:
    """Makes an empty virtual environment; returns its folder of commands."""
    run(sys.executable, "-m", "venv", path, cwd=path.parent)
    return path / "bin"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("folder", "module", "command"),
    [("client_py", "midstream", "midstream"), ("server", "midstream_server", "midstream-server")],
)
def test_a_package_installs_on_its_own(tmp_path: Path, folder: str, module: str, command: str) -> None:
    binaries = new_environment(tmp_path / "environment")
    python = binaries / "python"
    run(python, *PIP, "install", "--constraint", ROOT / "constraints.txt", f"./{folder}", cwd=ROOT)

    typed = f"import {module}, importlib.resources as r; print(r.files({module!r}).joinpath('py.typed').is_file())"
    assert run(python, "-c", typed, cwd=tmp_path) == "True\n"
    assert "usage" in run(binaries / command, "--help", cwd=tmp_path).lower()
    run(python, *PIP, "check", cwd=tmp_path)


@pytest.mark.slow
def test_released_packages_name_each_other_by_version(tmp_path: Path) -> None:
    """A published server must not carry the path of the checkout that it was built in."""
    build = (*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, "./client_py", "./server")
    run("env", "MIDSTREAM_BY_VERSION=1", sys.executable, *build, cwd=ROOT)

    client, server = sorted(path.name.removesuffix("-py3-none-any.whl") for path in tmp_path.glob("*.whl"))
    version = client.removeprefix("midstream-")
    assert server == f"midstream_server-{version}"
    with ZipFile(tmp_path / f"{server}-py3-none-any.whl") as wheel:
        metadata = wheel.read(f"{server}.dist-info/METADATA").decode()
    assert f"Requires-Dist: midstream=={version}\n" in metadata
    assert "file:" not in metadata
