"""Every RPC and every error reason of the contract appears in a vector, or is a known gap."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from midstream.v1.error_reason_pb2 import DESCRIPTOR
from support.conformance.play import SERVICES, find_method
from support.conformance.vector import load_known_gaps, load_vectors

REASONS = DESCRIPTOR.enum_types_by_name["ErrorReason"].values_by_name
ROOT = Path(__file__).parents[2]
VECTORS = load_vectors()
GAPS = load_known_gaps()


def reasons_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reason"), str) and not value["reason"].startswith("${"):
            yield value["reason"]
        for each in value.values():
            yield from reasons_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from reasons_in(each)


def test_every_rpc_is_covered() -> None:
    rpcs = {f"{service.name}.{method}" for service in SERVICES.values() for method in service.methods_by_name}
    covered = {step["rpc"] for vector in VECTORS for step in vector.steps if "rpc" in step}
    assert covered | GAPS["rpcs"].keys() == rpcs
    assert not covered & GAPS["rpcs"].keys()


def test_every_rpc_succeeds_somewhere() -> None:
    fine = {step["rpc"] for vector in VECTORS for step in vector.steps if "rpc" in step and "error" not in step}
    assert fine == {step["rpc"] for vector in VECTORS for step in vector.steps if "rpc" in step}


def test_every_error_reason_is_covered() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in REASONS} - {"UNSPECIFIED"}
    covered = {reason for vector in VECTORS for step in vector.steps for reason in reasons_in([step, vector.variables])}
    assert covered | GAPS["reasons"].keys() == reasons
    assert not covered & GAPS["reasons"].keys()


@pytest.mark.parametrize("gap", [gap for kind in GAPS.values() for gap in kind.values()])
def test_a_known_gap_is_covered_by_a_test_that_exists(gap: dict[str, str]) -> None:
    assert gap["why"]
    if gap["covered_by"] != "nothing":
        path, _, test = gap["covered_by"].partition("::")
        assert f"def {test}(" in (ROOT / path).read_text()


def test_names_are_unique() -> None:
    names = [vector.name for vector in VECTORS]
    assert len(set(names)) == len(names)


def test_vectors_name_real_methods_and_are_plain_json() -> None:
    for vector in VECTORS:
        assert vector.why.endswith(".")
        json.dumps(vector.steps)
        for step in vector.steps:
            assert sum(what in step for what in ("rpc", "sign", "held", "server")) == 1
            if "rpc" in step:
                find_method(step["rpc"])
