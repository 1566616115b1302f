"""Send and SendOne: records in, on disk, receipts out."""

import time
from collections import Counter
from collections.abc import Sequence

from midstream_server.domain import errors
from midstream_server.domain.accept import Accepted
from midstream_server.domain.caller import Caller
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import BATCH_RECORDS
from midstream_server.domain.names import check_name
from midstream_server.domain.record import Draft
from midstream_server.domain.scope import Action
from midstream_server.operations.core import Core
from midstream_server.operations.door import through_the_door
from midstream_server.telemetry.metrics import ACCEPTED, DEDUPLICATED


async def send(
    core: Core, caller: Caller, run_id: str, stream_id: str, drafts: Sequence[Draft]
) -> list[Accepted | Refused]:
    """Stores a batch on one stream; one outcome for each draft, in order.

    What is wrong with the batch as a whole is every draft's outcome. Raises Refused only for a batch that is empty or
    too large, and where the store is away: then whoever sends is to send it again, all of it.
    """
    began = time.perf_counter()
    if not 1 <= len(drafts) <= BATCH_RECORDS:
        raise errors.field_invalid("records", f"has {len(drafts)} records, must have 1 to {BATCH_RECORDS:,}")
    try:
        check_name("run_id", run_id)
        check_name("stream_id", stream_id)
        now_us = core.clock.now_us()
        caller.check(Action.SEND, run_id, stream_id)
        caller.standing.take(len(drafts), now_us=now_us)
        drafts, policy = await through_the_door(core.schemas, caller, stream_id, drafts)
        uses = None if caller.token is None else caller.token.uses
        outcomes = await core.store.append(
            caller.namespace, run_id, stream_id, drafts, now_us=now_us, uses=uses, policy=policy
        )
    except Refused as refused:
        outcomes = [refused] * len(drafts)
    for result, count in Counter(map(_result, outcomes)).items():
        core.metrics.sent(result, count)
    core.metrics.send_took(time.perf_counter() - began)
    if isinstance(outcomes[0], Refused) and outcomes[0].reason is Reason.STORE_UNAVAILABLE:
        raise outcomes[0]
    return outcomes


def _result(outcome: Accepted | Refused) -> str:
    if isinstance(outcome, Refused):
        return outcome.reason
    return DEDUPLICATED if outcome.deduplicated else ACCEPTED
