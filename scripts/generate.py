"""Generates the Python code of the contract, or checks that the committed one is current.

    python scripts/generate.py            writes client_py/src/midstream/v1
    python scripts/generate.py --check    exits with 1, and lists the files, when that folder is out of date

Runs in the environment of scripts/generate-requirements.txt (`make generate`, `make check-generated`).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PACKAGE = Path("midstream/v1")
COMMITTED = ROOT / "client_py/src" / PACKAGE


def generate(target: Path) -> dict[str, bytes]:
    """Runs protoc into the empty folder `target`; returns the generated files' contents by name."""
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{ROOT / 'third_party/googleapis'}"),
            *(f"--{plugin}_out={target}" for plugin in ("python", "grpc_python")),
            *(f"--{plugin}_out=quiet:{target}" for plugin in ("mypy", "mypy_grpc")),
            *sorted(str(path) for path in (PROTO / PACKAGE).glob("*.proto")),
        ],
        # protoc finds its mypy plugins on the path.
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        check=True,
    )
    files = {path.name: path.read_bytes() for path in (target / PACKAGE).iterdir()}
    services = {path.stem for path in (PROTO / PACKAGE).glob("*.proto") if "\nservice " in path.read_text()}
    # protoc writes a *_pb2_grpc module for every file, an empty one where there is no service.
    return {
        name: content
        for name, content in files.items()
        if "_pb2_grpc." not in name or name.partition("_pb2_grpc.")[0] in services
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Generates the Python code of the contract.")
    parser.add_argument("--check", action="store_true", help="only compare with the committed files")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        generated = generate(Path(directory))
    committed = {path.name: path.read_bytes() for path in COMMITTED.glob("*_pb2*") if path.is_file()}
    stale = sorted(name for name in generated | committed if generated.get(name) != committed.get(name))
    if check:
        for name in stale:
            print(f"out of date: {(COMMITTED / name).relative_to(ROOT)}; run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        if name in generated:
            (COMMITTED / name).write_bytes(generated[name])
        else:
            (COMMITTED / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
