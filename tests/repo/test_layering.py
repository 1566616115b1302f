"""The server's layers depend in one direction only: transport → operations → domain and store.

Reads the import statements themselves, also those inside functions and under TYPE_CHECKING: a layer must not know the
forbidden one, not even for a type.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"midstream": ROOT / "client_py/src", "midstream_server": ROOT / "server/src"}

GRPC = ("grpc", "grpc_health", "grpc_reflection", "grpc_status")
DATABASE = ("apsw", "asyncpg", "sqlite3")
FORBIDDEN = {
    "midstream_server.domain": (
        *(*GRPC, *DATABASE, "asyncio", "threading", "time"),
        *("midstream_server.operations", "midstream_server.server", "midstream_server.settings"),
        *("midstream_server.store", "midstream_server.telemetry", "midstream_server.transport"),
    ),
    "midstream_server.operations": (*GRPC, *DATABASE, "midstream_server.server", "midstream_server.transport"),
    "midstream_server.store": (
        *(*GRPC, "midstream_server.operations", "midstream_server.server", "midstream_server.transport"),
    ),
    "midstream_server.transport": DATABASE,
    # Only the testing module may start a server, and then only if it is installed.
    "midstream": ("midstream_server",),
}
EXEMPT = {SOURCES["midstream"] / "midstream/testing.py", SOURCES["midstream"] / "midstream/testing"}


def imported_modules(source: str) -> Iterator[str]:
    """The name of every module, and of every name in one that may be a module, that the source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative imports are not used here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_nothing_above_it(layer: str) -> None:
    folder = SOURCES[layer.partition(".")[0]] / layer.replace(".", "/")
    files = [path for path in folder.rglob("*.py") if not EXEMPT & {path, *path.parents}]
    assert files, f"{layer} has no files: has the layer moved?"
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported_modules(path.read_text())
        if any(module == name or module.startswith(f"{name}.") for name in FORBIDDEN[layer])
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import grpc.aio as g", {"grpc.aio"}),
        ("def f():\n    from grpc import aio", {"grpc", "grpc.aio"}),
        ("if TYPE_CHECKING:\n    import grpc", {"grpc"}),
        ("text = 'import grpc'  # import grpc", set()),
    ],
)
def test_the_imports_are_read_as_python_reads_them(source: str, expected: set[str]) -> None:
    assert set(imported_modules(source)) == expected
