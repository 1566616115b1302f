"""Reads conformance vectors: see tests/conformance/README.md for the format."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class _CoreLoader(yaml.SafeLoader):
    """YAML's core schema, as YAML 1.2 has it and other languages read it: `on` and `no` are words, not booleans."""


_CoreLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":bool", ":timestamp"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_CoreLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))

DIRECTORY = Path(__file__).parents[2] / "conformance"

Variables = dict[str, Any]
_REFERENCE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Vector:
    """One case. `variables` are those of its `for_each`; steps add to a copy of them."""

    name: str
    why: str
    steps: list[dict[str, Any]]
    variables: Variables
    client: str | None
    server: str
    """`open`, `keyed`, or `own`: one that the vector may stop."""


def load_vectors() -> list[Vector]:
    """Every vector of every file, one for each case of a `for_each`."""
    return [
        vector
        for path in sorted((DIRECTORY / "vectors").glob("*.yaml"))
        for raw in load_yaml(path)
        for vector in _expanded(raw, path.stem)
    ]


def load_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(), _CoreLoader)


def load_server_env() -> dict[str, str]:
    """The settings that the vectors expect of the server, as environment variables."""
    lines = (DIRECTORY / "server.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def load_known_gaps() -> dict[str, dict[str, str]]:
    """What no vector can cover: `rpcs` and `reasons`, each with why and by what it is covered instead."""
    gaps: dict[str, dict[str, str]] = load_yaml(DIRECTORY / "known_gaps.yaml")
    return gaps


def resolve(value: Any, variables: Variables) -> Any:
    """`value` with its references and repetitions replaced. A reference that is a whole string may become anything."""
    match value:
        case str():
            whole = _REFERENCE.fullmatch(value)
            if whole is not None and whole[1] != "number":
                return resolve(variables[whole[1]], variables)
            return _REFERENCE.sub(lambda reference: str(variables[reference[1]]), value)
        case {"repeat": text, "times": times}:
            return value.get("before", "") + text * times + value.get("after", "")
        case {"copies": of, "times": times}:
            return [resolve(of, variables | {"number": number}) for number in range(1, times + 1)]
        case Mapping():
            return {key: resolve(each, variables) for key, each in value.items()}
        case list():
            return [resolve(each, variables) for each in value]
    return value


def _expanded(raw: dict[str, Any], file: str) -> Iterator[Vector]:
    unknown = raw.keys() - {"name", "why", "steps", "for_each", "client", "server"}
    if unknown:
        raise ValueError(f"{file}: {raw['name']}: unknown keys {sorted(unknown)}")
    for variables in raw.get("for_each", [{}]):
        case = f"/{variables['case']}" if "case" in variables else ""
        yield Vector(
            f"{file}/{raw['name']}{case}",
            raw["why"],
            raw["steps"],
            variables,
            raw.get("client"),
            raw.get("server", "open"),
        )
