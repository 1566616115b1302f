"""Who has appended what to a run's output streams, so that each is stored once and can be taken back."""

from midstream_server.domain import facts
from midstream_server.domain.output import OUTSIDE, Range, Turn, Writer, marks
from midstream_server.store.postgres.outputs.rows import OutputRows
from midstream_server.store.postgres.transaction import Transaction


class Writers:
    """The writers of one generation of a run, as far as one transaction needs them."""

    def __init__(self, tx: Transaction, run_no: int, run_id: str, generation: int) -> None:
        self._tx = tx
        self._run_id = run_id
        self._key = (run_no, generation)
        self._known: dict[int, Writer | None] = {}
        self._changed: set[int] = set()
        self._ranges: dict[tuple[int, int], list[Range]] = {}

    async def get(self, operation: int) -> Writer | None:
        if operation not in self._known:
            self._known[operation] = await self._read(operation)
        return self._known[operation]

    def set(self, operation: int, writer: Writer) -> None:
        self._known[operation] = writer
        self._changed.add(operation)

    def wrote(self, operation: int, writer: Writer, stream_no: int, seq: int) -> None:
        """It has appended one record. What is outside of steps is never taken back."""
        self.set(operation, writer)
        if operation == OUTSIDE:
            return
        ranges = self._ranges.setdefault((operation, stream_no), [])
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))

    async def rewind(self, operation: int, rows: OutputRows) -> None:
        """Marks what the step has appended so far."""
        await self._write_ranges()
        taken_back: dict[str, list[Range]] = {}
        for stream_id, first_seq, last_seq in await self._tx.fetch(
            "SELECT id, first_seq, output_ranges.last_seq FROM output_ranges "
            "JOIN output_streams ON output_streams.run = output_ranges.run AND no = stream "
            "WHERE output_ranges.run = $1 AND generation = $2 AND operation = $3",
            *self._key,
            operation,
        ):
            taken_back.setdefault(stream_id, []).append((first_seq, last_seq))
        for stream_id, ranges in taken_back.items():
            await rows.open(stream_id)
            for mark in marks(ranges):
                rows.add(stream_id, facts.rewound(self._run_id, mark))
        await self.forget_ranges(operation)

    async def forget_ranges(self, operation: int) -> None:
        await self._tx.execute(
            "DELETE FROM output_ranges WHERE run = $1 AND generation = $2 AND operation = $3", *self._key, operation
        )

    async def write(self) -> None:
        await self._write_ranges()
        for operation in self._changed:
            writer = self._known[operation]
            if writer is not None:
                await self._tx.execute(
                    "INSERT INTO output_writers (run, generation, operation, epoch, attempt, places) "
                    "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (run, generation, operation) DO UPDATE "
                    "SET epoch = excluded.epoch, attempt = excluded.attempt, places = excluded.places",
                    *self._key,
                    operation,
                    *writer.turn,
                    writer.places,
                )
        self._changed.clear()

    async def _read(self, operation: int) -> Writer | None:
        row = await self._tx.fetchrow(
            "SELECT epoch, attempt, places FROM output_writers WHERE run = $1 AND generation = $2 AND operation = $3",
            *self._key,
            operation,
        )
        return None if row is None else Writer(Turn(row[0], row[1]), row[2])

    async def _write_ranges(self) -> None:
        for (operation, stream_no), ranges in self._ranges.items():
            for first_seq, last_seq in ranges:
                await self._write_range(operation, stream_no, first_seq, last_seq)
        self._ranges.clear()

    async def _write_range(self, operation: int, stream_no: int, first_seq: int, last_seq: int) -> None:
        key = (*self._key, operation, stream_no)
        extended = await self._tx.fetchval(
            "UPDATE output_ranges SET last_seq = $5 WHERE run = $1 AND generation = $2 AND operation = $3 "
            "AND stream = $4 AND last_seq = $6 AND first_seq = (SELECT max(first_seq) FROM output_ranges "
            "WHERE run = $1 AND generation = $2 AND operation = $3 AND stream = $4) RETURNING true",
            *key,
            last_seq,
            first_seq - 1,
        )
        if extended is None:
            await self._tx.execute(
                "INSERT INTO output_ranges (run, generation, operation, stream, first_seq, last_seq) "
                "VALUES ($1, $2, $3, $4, $5, $6)",
                *key,
                first_seq,
                last_seq,
            )
