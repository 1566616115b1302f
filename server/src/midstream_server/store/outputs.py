"""What output streams need of a store, beside `Store`: see there for how calls behave.

Output records have an order of their own: offsets 1, 2, 3, ... over all output streams of a run, and seqs on each. They
are no entries of the log. Where those of one run take more than `Limits.max_output_bytes`, the oldest go, a few with
each append; all go `Periods.output_retention_us` after the run's end, or with the run.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Refused
from midstream_server.domain.output import OutputDraft
from midstream_server.domain.record import Draft
from midstream_server.store.interface import Page
from midstream_server.store.managed import Fenced


class Stored(NamedTuple):
    """All are on disk, now or since before, but for those that were refused."""

    refused: Sequence[Refused]


class OutputStore(Protocol):
    """See the module."""

    async def append_outputs(
        self, run_no: int, epoch: int, drafts: Sequence[OutputDraft], *, now_us: int
    ) -> Stored | Fenced:
        """Stores what a worker's run appends, each once; see OutputDraft.

        The first record of another attempt or epoch of a step puts a mark on each stream that the former one has
        appended to: an encoded Record with `rewound`, which has a seq and an offset of its own.
        """
        ...

    async def append_attached(
        self, namespace: str, run_id: str, stream_id: str, drafts: Sequence[Draft], *, now_us: int
    ) -> list[Accepted | Refused]:
        """Stores records on an output stream of an attached run; one outcome each, in order.

        A key is known for as long as its record is kept.

        Errors: RUN_NOT_FOUND, RUN_MANAGED, TOO_MANY_STREAMS.
        """
        ...

    async def read_outputs(
        self, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
    ) -> Page | None:
        """As `Store.read_log`, of output records: `last_offset` is theirs, too, 0 where none is kept."""
        ...
