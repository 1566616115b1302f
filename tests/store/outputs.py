"""Short names for what tests do with output streams."""

from collections.abc import Sequence

from midstream.v1.record_pb2 import Record
from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Refused
from midstream_server.domain.output import OutputDraft
from midstream_server.domain.record import Draft, StoredRecord
from midstream_server.store import Page
from midstream_server.store.managed import Claimed, Fenced
from midstream_server.store.outputs import OutputStore, Stored
from store.engines import MUCH, NAMESPACE, NOW_US, WholeStore, draft


class Outputs:
    """The output streams of a store's runs."""

    def __init__(self, store: WholeStore) -> None:
        self.store = outputs_of(store)

    async def append(
        self, claim: Claimed, *drafts: OutputDraft, epoch: int | None = None, now_us: int = NOW_US
    ) -> Stored | Fenced:
        """What the worker that has the run appends."""
        epoch = claim.epoch if epoch is None else epoch
        return await self.store.append_outputs(claim.run_no, epoch, drafts, now_us=now_us)

    async def attached(
        self, *drafts: Draft, run_id: str = "run", stream_id: str = "out", now_us: int = NOW_US
    ) -> list[Accepted | Refused]:
        return await self.store.append_attached(NAMESPACE, run_id, stream_id, drafts, now_us=now_us)

    async def page(
        self,
        run_no: int,
        stream_id: str | None = None,
        *,
        after: int = 0,
        max_records: int = 10_000,
        max_bytes: int = MUCH,
    ) -> Page:
        page = await self.store.read_outputs(
            run_no, stream_id, after_offset=after, max_records=max_records, max_bytes=max_bytes
        )
        assert page is not None
        return page

    async def all(self, run_no: int, stream_id: str | None = None) -> list[str]:
        """Each record's stream and payload, or the seqs that a mark takes back."""
        return [shown(record) for record in (await self.page(run_no, stream_id)).records]

    async def counting(self, run_no: int, stream_id: str) -> list[str]:
        """The payloads of what counts, as a reader that applies the marks sees them."""
        counting: dict[int, str] = {}
        for record in (await self.page(run_no, stream_id)).records:
            taken_back = ranges_of(record)
            counting = {
                seq: payload
                for seq, payload in counting.items()
                if not any(first <= seq <= last for first, last in taken_back)
            }
            if not taken_back:
                counting[record.seq] = record.body.removesuffix(b"+envelope").decode()
        return list(counting.values())


def outputs_of(store: WholeStore) -> OutputStore:
    outputs: OutputStore = getattr(store, "outputs")  # noqa: B009  # not every engine has output streams
    return outputs


def written(
    stream_id: str,
    payload: str = "p",
    *,
    operation: int = 0,
    attempt: int = 0,
    place: int = 0,
    flaw: Refused | None = None,
) -> OutputDraft:
    """What a run appends: outside of steps, or in the `attempt` of a step."""
    return OutputDraft(stream_id, draft(payload.encode(), flaw=flaw), operation, attempt, place)


def tokens(
    text: str, *, stream_id: str = "out", operation: int = 7, attempt: int = 1, place: int = 0
) -> list[OutputDraft]:
    """A record for each letter, appended by a step's attempt."""
    return [
        written(stream_id, letter, operation=operation, attempt=attempt, place=place + number)
        for number, letter in enumerate(text)
    ]


def ranges_of(record: StoredRecord) -> list[tuple[int, int]]:
    """Empty for a record that is no mark."""
    if record.body.endswith(b"+envelope"):
        return []
    mark = Record.FromString(record.body)
    assert mark.HasField("rewound")
    return [(each.first_seq, each.last_seq) for each in mark.rewound.ranges]


def shown(record: StoredRecord) -> str:
    ranges: Sequence[tuple[int, int]] = ranges_of(record)
    if ranges:
        return f"{record.stream_id}:-" + ",".join(f"{first}-{last}" for first, last in ranges)
    return f"{record.stream_id}:{record.body.removesuffix(b'+envelope').decode()}"
