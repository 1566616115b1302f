"""StartRun and AttachRun: a run comes into being, or is found."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from midstream import ulid
from midstream_server.domain import errors
from midstream_server.domain.caller import Caller
from midstream_server.domain.limits import BATCH_RECORDS, DURATION_US
from midstream_server.domain.names import check_name
from midstream_server.domain.policy import Policy
from midstream_server.domain.record import Draft
from midstream_server.domain.run import Kind, Run
from midstream_server.operations.core import Core
from midstream_server.operations.door import through_the_door
from midstream_server.store import NewRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a run is made of. `payload` is what makes two arguments the same; `encoded` is what is kept."""

    task: str
    payload: Draft
    has_payload: bool
    encoded: bytes
    max_duration_us: int | None


async def start_run(
    core: Core, caller: Caller, run_id: str, spec: Spec, first_records: Sequence[tuple[str, Draft]]
) -> tuple[Run, bool]:
    """Creates a managed run, or finds it; true if created. Raises Refused."""
    if len(first_records) > BATCH_RECORDS:
        raise errors.field_invalid(
            "records", f"has {len(first_records)} records, at most {BATCH_RECORDS:,} are allowed"
        )
    for index, (stream_id, _) in enumerate(first_records):
        check_name(f"records[{index}].stream_id", stream_id)
    check_name("spec.task", spec.task)
    return await _create(core, caller, run_id, spec, Kind.MANAGED, first_records, compare_content=True)


async def attach_run(core: Core, caller: Caller, run_id: str, spec: Spec) -> tuple[Run, bool]:
    """Creates an attached run, or finds it; true if created. Raises Refused."""
    if spec.task:
        check_name("spec.task", spec.task)
    return await _create(core, caller, run_id, spec, Kind.ATTACHED, (), compare_content=spec.has_payload)


async def _create(
    core: Core,
    caller: Caller,
    run_id: str,
    spec: Spec,
    kind: Kind,
    first_records: Sequence[tuple[str, Draft]],
    *,
    compare_content: bool,
) -> tuple[Run, bool]:
    if run_id:
        check_name("run_id", run_id)
    if spec.payload.flaw is not None:
        raise spec.payload.flaw
    if spec.max_duration_us is not None and not 0 < spec.max_duration_us <= DURATION_US:
        raise errors.field_invalid(
            "spec.max_duration", f"is {spec.max_duration_us / 1e6:g} s, must be over 0 and at most 10 years"
        )
    checked: list[tuple[str, Draft]] = []
    policies: dict[str, Policy] = {}
    for stream_id, draft in first_records:
        (passed,), policies[stream_id] = await through_the_door(core.schemas, caller, stream_id, [draft])
        checked.append((stream_id, passed))
    new = NewRun(
        namespace=caller.namespace,
        run_id=run_id or new_run_id(),
        task=spec.task,
        kind=kind,
        spec=spec.encoded,
        digest=_digest(spec, first_records),
        compare_content=compare_content,
        max_duration_us=spec.max_duration_us,
        first_records=checked,
        policies=policies,
    )
    run, created = await core.store.create_run(new, now_us=core.clock.now_us())
    core.timers_changed()
    return run, created


def new_run_id() -> str:
    return f"run_{ulid.new()}"


def _digest(spec: Spec, first_records: Sequence[tuple[str, Draft]]) -> bytes:
    """Over the content, without the keys and metadata that differ between two requests for the same run."""
    digest = hashlib.sha256()
    for part in (
        spec.payload.payload,
        *(part for name, draft in first_records for part in (name.encode(), draft.payload)),
    ):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
