"""Lets a call in that looks at a run or asks it to stop, or does not."""

from midstream_server.domain.access_token import AFTER_END_US
from midstream_server.domain.caller import Caller
from midstream_server.domain.credential_errors import token_revoked
from midstream_server.domain.names import check_name
from midstream_server.domain.scope import Action
from midstream_server.operations.core import Core


async def admit(
    core: Core,
    caller: Caller,
    action: Action,
    run_id: str,
    stream_id: str = "",
    *,
    any_stream: bool = False,
    cost: int = 1,
) -> str:
    """Returns the namespace in which the call stays. Everybody but the holder of an access token passes.

    No `stream_id`: the run as a whole; with `any_stream`, a right to one of its streams is enough. `cost` counts
    against the token's rate.

    Raises Refused: SCOPE_MISSING; RUN_NOT_FOUND for a run that the token does not name; RATE_LIMITED; TOKEN_REVOKED an
    hour after the run has ended.
    """
    if caller.token is None:
        return caller.namespace
    check_name("run_id", run_id)
    caller.check(action, run_id, stream_id, any_stream=any_stream)
    now_us = core.clock.now_us()
    caller.standing.take(cost, now_us=now_us)
    run = await core.store.get_run(caller.namespace, run_id)
    if run.finished_us is not None and run.finished_us + AFTER_END_US <= now_us:
        raise token_revoked(caller.token.token_id)
    return caller.namespace
