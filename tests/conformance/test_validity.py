"""The shared file of schemas, payloads and verdicts is what the server says; the clients compare their own verdicts."""

import json

from support.validity.make import FILE, text


def test_the_file_is_what_the_server_says() -> None:
    assert json.loads(FILE.read_text()) == json.loads(text())


def test_the_file_has_payloads_of_every_sort() -> None:
    shared = json.loads(FILE.read_text())
    for kind in ("protobuf", "jsonSchema"):
        cases = [case for schema in shared[kind] for case in schema["cases"]]
        assert sum(case["valid"] for case in cases) > 100
        assert sum(not case["valid"] for case in cases) > 100
    assert len({violation["rule"] for schema in shared["protobuf"] for violation in _violations(schema)}) > 20
    assert len({violation["rule"] for schema in shared["jsonSchema"] for violation in _violations(schema)}) > 12


def _violations(schema: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[dict[str, str]]:
    return [violation for case in schema["cases"] for violation in case.get("violations", [])]
