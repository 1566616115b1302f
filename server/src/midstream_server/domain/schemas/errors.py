"""Refusals that have to do with schemas."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from midstream_server.domain.errors import Reason, Refused, Violation

MAX_VIOLATIONS = 20


class Change(NamedTuple):
    """What an incompatible schema changes. `field` is the full name of what was changed."""

    field: str
    description: str
    rule: str


def schema_invalid(
    problem: str, *, file: str = "", stream_id: str = "", metadata: Mapping[str, str] | None = None
) -> Refused:
    """What was to be registered cannot be a schema. `file` of a descriptor set, or the stream of a JSON Schema."""
    named = {"file": file, "stream_id": stream_id, **(metadata or {})}
    where = f"{file}: " if file else f"stream {stream_id!r}: " if stream_id else ""
    return Refused(Reason.SCHEMA_INVALID, where + problem, {name: value for name, value in named.items() if value})


def schema_incompatible(stream_id: str, version: int, changes: Sequence[Change]) -> Refused:
    """`version` is the newest one, which the new schema cannot replace."""
    more = f", and {len(changes) - 1} more changes" if len(changes) > 1 else ""
    return Refused(
        Reason.SCHEMA_INCOMPATIBLE,
        f"stream {stream_id!r}: the new schema cannot read what version {version} could write: "
        f"{changes[0].description}{more}; keep what there was, use another stream, or force it",
        {"stream_id": stream_id, "version": str(version)},
        violations=tuple(Violation(*change) for change in changes[:MAX_VIOLATIONS]),
    )


def schema_not_found(stream_id: str, version: int) -> Refused:
    what = f"version {version} of a schema" if version else "a schema"
    return Refused(
        Reason.SCHEMA_NOT_FOUND,
        f"stream {stream_id!r} has not got {what}; register one, or look at what ListSchemas gives",
        {"stream_id": stream_id, **({"version": str(version)} if version else {})},
    )


def stream_undeclared(stream_id: str) -> Refused:
    return Refused(
        Reason.STREAM_UNDECLARED,
        f"stream {stream_id!r} has no schema, and the namespace takes records only for streams that have one; "
        "register one, or correct the stream's name",
        {"stream_id": stream_id},
    )


def stream_backend_only(stream_id: str) -> Refused:
    return Refused(
        Reason.STREAM_BACKEND_ONLY,
        f"stream {stream_id!r} is declared backend_only: no access token may send to it; send with an API key",
        {"stream_id": stream_id},
    )


def payload_unfit(stream_id: str, version: int, violations: Sequence[Violation]) -> Refused:
    """The payload does not fit the stream's schema."""
    path, problem, _ = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return Refused(
        Reason.PAYLOAD_INVALID,
        f"the payload does not fit stream {stream_id!r}, schema version {version}: "
        f"{f'{path}: ' if path else ''}{problem}{more}",
        {"stream_id": stream_id, "schema_version": str(version)},
        violations=tuple(violations[:MAX_VIOLATIONS]),
    )
