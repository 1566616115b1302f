"""Makes the shared file: what the server says of each payload."""

import base64
import json
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from midstream_server.domain.schemas.bundle import completed
from midstream_server.domain.schemas.declared import declared_streams
from midstream_server.domain.schemas.json_type import JsonType
from midstream_server.domain.schemas.protobuf_type import ProtobufType, Unfit
from support.validity import json_cases, protobuf_cases

FILE = Path(__file__).parents[2] / "conformance" / "validity.json"

ABOUT = (
    "What is valid. Made by `PYTHONPATH=tests python -m support.validity`, from what the server says; every language "
    "compares its own verdict. `json` is a payload as JSON text; `binary` the same as a message, in base64, where the "
    "text is one. Without `violations` the text is no message of the type: languages differ in the words."
)


def text() -> str:
    """One payload a line, so that a change can be read."""
    content = {"about": ABOUT, "protobuf": list(_protobuf()), "jsonSchema": list(_json())}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _protobuf() -> Any:
    for descriptor_set, payloads in protobuf_cases.all_types():
        for declaration in sorted(declared_streams(descriptor_set)):
            message = ProtobufType(declaration.type_name, declaration.definition)
            whole = FileDescriptorSet(file=completed(FileDescriptorSet.FromString(declaration.definition).file))
            yield {
                "stream": declaration.stream_id,
                "type": declaration.type_name,
                "descriptorSet": base64.b64encode(whole.SerializeToString(deterministic=True)).decode(),
                "cases": [_message_case(message, each) for each in payloads[declaration.stream_id]],
            }


def _message_case(message: ProtobufType, payload: str) -> dict[str, Any]:
    try:
        binary, _ = message.from_json(payload)
    except Unfit:
        return {"json": payload, "valid": False}
    case: dict[str, Any] = {"json": payload, "binary": base64.b64encode(binary).decode(), "valid": True}
    try:
        message.check_binary(binary)
    except Unfit as unfit:
        case |= {"valid": False, "violations": _violations(unfit)}
    return case


def _json() -> Any:
    for name, schema, values in json_cases.all_schemas():
        checked = JsonType(json.dumps(schema).encode(), name)
        cases: list[dict[str, Any]] = []
        for value in values:
            payload = json.dumps(value, ensure_ascii=False)
            try:
                checked.check_text(payload)
                cases.append({"json": payload, "valid": True})
            except Unfit as unfit:
                cases.append({"json": payload, "valid": False, "violations": _violations(unfit)})
        yield {"name": name, "schema": schema, "cases": cases}


def _violations(unfit: Unfit) -> list[dict[str, str]]:
    return [{"field": each.field, "rule": each.rule} for each in sorted(unfit.violations)]
