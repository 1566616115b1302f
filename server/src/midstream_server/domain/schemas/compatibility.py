"""Whether a new schema of a stream can read what the newest one could write."""

from typing import NamedTuple

from midstream_server.domain.schemas.declaration import Declaration, SchemaKind
from midstream_server.domain.schemas.errors import Change


class Comparison(NamedTuple):
    """`breaking` is refused, unless it is forced; `warnings` are for a person to read."""

    breaking: list[Change]
    warnings: list[str]


def compare(old: Declaration, new: Declaration) -> Comparison:
    """What changes from one schema of a stream to the next."""
    if old.kind is not new.kind:
        change = f"payloads were {old.kind.name} and would be {new.kind.name}"
        return Comparison([Change("", change, "SCHEMA_KIND_SAME")], [])
    if old.kind is SchemaKind.PROTOBUF and old.type_name != new.type_name:
        change = f"payloads were {old.type_name} and would be {new.type_name}"
        return Comparison([Change(old.type_name, change, "MESSAGE_TYPE_SAME")], [])
    return Comparison([], [])
