"""AppendOutput: records out of an attached run."""

from collections.abc import Sequence

from midstream_server.domain import errors
from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import BATCH_RECORDS
from midstream_server.domain.names import check_name
from midstream_server.domain.record import Draft
from midstream_server.operations.core import Core


async def append_output(
    core: Core, namespace: str, run_id: str, stream_id: str, drafts: Sequence[Draft]
) -> list[Accepted | Refused]:
    """Stores a batch on one output stream; one outcome for each draft, in order. Raises Refused."""
    if not 1 <= len(drafts) <= BATCH_RECORDS:
        raise errors.field_invalid("records", f"has {len(drafts)} records, must have 1 to {BATCH_RECORDS:,}")
    check_name("run_id", run_id)
    check_name("stream_id", stream_id)
    outcomes = await core.outputs.append_attached(namespace, run_id, stream_id, drafts, now_us=core.clock.now_us())
    core.metrics.output_stored(sum(isinstance(each, Accepted) and not each.deduplicated for each in outcomes))
    return outcomes
