"""The client that a task has: what it does is recorded as a step."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from midstream import ulid
from midstream.codec import codec_for
from midstream.durations import Duration
from midstream.errors import Fenced, PayloadError, RunFinished, RunNotFound, StreamFull
from midstream.models import Receipt, Run
from midstream.new_run import run_spec, start_run_request
from midstream.runtime.retry import ONCE
from midstream.streams import Stream, check_pairs, encode, stream_id_of
from midstream.v1.record_pb2 import NewRecord
from midstream.v1.run_pb2 import Run as RunMessage
from midstream.v1.stream_service_pb2 import Accepted, SendOneRequest

if TYPE_CHECKING:
    from midstream.runtime.execution import Execution

_RAISES: Final = (RunNotFound, RunFinished, StreamFull, PayloadError, Fenced)
_ACCEPTED: Final = codec_for(Accepted)
_RUN: Final = codec_for(RunMessage)


class RunClient:
    """Takes the place of a `Client` in a task. The host makes the calls; their keys make repeating them harmless."""

    closed: Final = False
    loop: Final = None

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution

    async def send(
        self,
        run_id: str,
        stream: Stream,
        value: Any,
        *,
        key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Receipt:
        stream_id = stream_id_of(stream)
        steps = self._execution.steps_issued
        record = NewRecord(
            payload=encode(stream, value),
            idempotency_key=_short(steps.next_key("send")) if key is None else key,
            metadata=check_pairs(metadata),
        )
        request = SendOneRequest(run_id=run_id, stream_id=stream_id, records=[record])
        accepted = await steps.run("send", stream_id, request, _ACCEPTED, retry=ONCE, raises=_RAISES)
        return Receipt.from_proto(cast(Accepted, accepted))

    async def start_run(
        self,
        task: str,
        payload: Any = None,
        *,
        run_id: str | None = None,
        records: Iterable[tuple[Stream, Any]] = (),
        max_duration: Duration | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Run:
        steps = self._execution.steps_issued
        if run_id is None:
            run_id = f"run_{_ulid(self._execution.now_us, steps.next_key('start_run'))}"
        spec = run_spec(task, payload, max_duration=max_duration, metadata=metadata)
        request = start_run_request(run_id, spec, records)
        run = await steps.run("start_run", task, request, _RUN, retry=ONCE, raises=_RAISES)
        return Run.from_proto(cast(RunMessage, run))


def _short(key: str) -> str:
    """The server takes keys of at most 128 bytes."""
    return key if len(key) <= 128 else hashlib.blake2b(key.encode(), digest_size=32).hexdigest()


def _ulid(now_us: int, key: str) -> str:
    """The same for the same operation of the same run."""
    random_bits = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=10).digest())
    return ulid.encode(now_us // 1_000 << 80 | random_bits)
