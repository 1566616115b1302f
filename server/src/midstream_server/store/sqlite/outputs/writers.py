"""Who has appended what to a run's output streams, so that each is stored once and can be taken back."""

from typing import Any

from midstream_server.domain import facts
from midstream_server.domain.output import OUTSIDE, Range, Turn, Writer, marks
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.outputs.rows import OutputRows


class Writers:
    """The writers of one generation of a run, as far as one transaction needs them."""

    def __init__(self, tx: Transaction, run_no: int, run_id: str, generation: int) -> None:
        self._tx = tx
        self._run_id = run_id
        self._key = (run_no, generation)
        self._known: dict[int, Writer | None] = {}
        self._changed: set[int] = set()
        self._ranges: dict[tuple[int, int], list[Range]] = {}

    def get(self, operation: int) -> Writer | None:
        if operation not in self._known:
            self._known[operation] = self._read(operation)
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

    def rewind(self, operation: int, rows: OutputRows) -> None:
        """Marks what the step has appended so far."""
        self._write_ranges()
        taken_back: dict[str, list[Range]] = {}
        for stream_id, first_seq, last_seq in self._tx.execute(
            "SELECT id, first_seq, output_ranges.last_seq FROM output_ranges "
            "JOIN output_streams ON output_streams.run = output_ranges.run AND no = stream "
            "WHERE output_ranges.run = ? AND generation = ? AND operation = ?",
            (*self._key, operation),
        ):
            taken_back.setdefault(stream_id, []).append((first_seq, last_seq))
        for stream_id, ranges in taken_back.items():
            for mark in marks(ranges):
                rows.add(stream_id, facts.rewound(self._run_id, mark))
        self.forget_ranges(operation)

    def forget_ranges(self, operation: int) -> None:
        self._tx.execute(
            "DELETE FROM output_ranges WHERE run = ? AND generation = ? AND operation = ?", (*self._key, operation)
        )

    def write(self) -> None:
        self._write_ranges()
        for operation in self._changed:
            writer = self._known[operation]
            if writer is not None:
                self._tx.execute(
                    "INSERT INTO output_writers (run, generation, operation, epoch, attempt, places) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                    "SET epoch = excluded.epoch, attempt = excluded.attempt, places = excluded.places",
                    (*self._key, operation, *writer.turn, writer.places),
                )
        self._changed.clear()

    def _read(self, operation: int) -> Writer | None:
        row: Any = self._tx.execute(
            "SELECT epoch, attempt, places FROM output_writers WHERE run = ? AND generation = ? AND operation = ?",
            (*self._key, operation),
        ).fetchone()
        return None if row is None else Writer(Turn(row[0], row[1]), row[2])

    def _write_ranges(self) -> None:
        for (operation, stream_no), ranges in self._ranges.items():
            for first_seq, last_seq in ranges:
                self._write_range(operation, stream_no, first_seq, last_seq)
        self._ranges.clear()

    def _write_range(self, operation: int, stream_no: int, first_seq: int, last_seq: int) -> None:
        key = (*self._key, operation, stream_no)
        newest: int | None = self._tx.execute(
            "SELECT max(first_seq) FROM output_ranges "
            "WHERE run = ? AND generation = ? AND operation = ? AND stream = ?",
            key,
        ).get
        if newest is not None:
            extended = self._tx.execute(
                "UPDATE output_ranges SET last_seq = ? WHERE run = ? AND generation = ? AND operation = ? "
                "AND stream = ? AND first_seq = ? AND last_seq = ? RETURNING 1",
                (last_seq, *key, newest, first_seq - 1),
            ).get
            if extended is not None:
                return
        self._tx.execute(
            "INSERT INTO output_ranges (run, generation, operation, stream, first_seq, last_seq) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (*key, first_seq, last_seq),
        )
