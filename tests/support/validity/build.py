"""Builds descriptor sets from `.proto` text, with buf."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUF = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
_MODULES = ("proto", "third_party/protovalidate", "third_party/googleapis")


def build(files: Mapping[str, str]) -> bytes:
    """A serialised FileDescriptorSet of the files, by name, with all that they import."""
    return _build(tuple(sorted(files.items())))


@cache
def _build(files: tuple[tuple[str, str], ...]) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        for path, text in files:
            target = workspace / "own" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for module in _MODULES:
            shutil.copytree(ROOT / module, workspace / module)
        paths = "".join(f"  - path: {module}\n" for module in ("own", *_MODULES))
        (workspace / "buf.yaml").write_text(f"version: v2\nmodules:\n{paths}")
        chosen = [argument for path, _ in files for argument in ("--path", f"own/{path}")]
        built = subprocess.run(
            [BUF, "build", *chosen, "--as-file-descriptor-set", "-o", "-"],
            cwd=workspace,
            capture_output=True,
            check=False,
        )
    if built.returncode:
        raise ValueError(built.stderr.decode())
    return built.stdout
