"""What an operation may use while its transaction is under way: statements, locked runs, and the ends of their logs."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeAlias

from midstream_server.domain.run import Kind, State
from midstream_server.store.interface import Change
from midstream_server.store.notice import Notice, Queued
from midstream_server.store.postgres.connections import Connection
from midstream_server.store.postgres.text import storable

Name = tuple[str, str]
"""Namespace and id of a run."""


class RunRow(NamedTuple):
    """A run's own row, locked until the transaction ends."""

    no: int
    namespace: str
    id: str
    task: str
    kind: Kind
    state: State
    epoch: int
    generation: int
    generation_offset: int
    started_us: int | None
    cancel_us: int | None
    deadline_us: int | None
    refused_versions: Sequence[str]


RUN_COLUMNS = (
    "runs.no, runs.namespace, runs.id, runs.task, runs.kind, runs.state, runs.epoch, runs.generation, "
    "runs.generation_offset, runs.started_us, runs.cancel_us, runs.deadline_us, runs.refused_versions"
)
_COLUMN_COUNT = len(RunRow._fields)


class Transaction:
    """One transaction. `changes` is what watchers should look at after the commit.

    `before_commit` is called when all operations have been done, `on_commit` when they are on disk, `on_rollback` where
    the transaction came to nothing, and `on_doubt` where nobody knows, since the connection broke during the commit.
    """

    def __init__(self, connection: Connection) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.fetch = connection.fetch
        self.fetchrow = connection.fetchrow
        self.fetchval = connection.fetchval
        self.committing = False
        self.changes: set[Change] = set()
        self.vacated: list[int] = []
        self.schemas: set[str] = set()
        self.before_commit: list[Callable[[], Awaitable[None]]] = []
        self.on_commit: list[Callable[[], None]] = []
        self.on_rollback: list[Callable[[], None]] = []
        self.on_doubt: list[Callable[[], None]] = []
        self._runs: dict[int, RunRow] = {}
        self._numbers: dict[Name, int] = {}
        self._ends: dict[int, tuple[int, int]] = {}

    async def lock(self, names: Collection[Name], numbers: Collection[int]) -> None:
        """Locks runs in the order of their numbers, so that no two transactions wait for each other.

        A lock on the run orders all that is done to it: its log has one order, whatever the stream. What later
        statements read was committed before the lock was got.
        """
        if not names and not numbers:
            return
        # An array, not `IN (SELECT ...)`: PostgreSQL looks again at rows that were changed while it waited for them. Of
        # several that come from a join it then finds the last one only.
        rows = await self.fetch(
            f"SELECT {RUN_COLUMNS} FROM runs WHERE no = ANY (ARRAY("
            "SELECT named.no FROM unnest($1::text[], $2::text[]) AS asked (namespace, id) "
            "JOIN runs AS named ON named.namespace = asked.namespace AND named.id = asked.id "
            "UNION ALL SELECT unnest($3::bigint[]))) ORDER BY no FOR UPDATE",
            [namespace for namespace, _ in names],
            [storable(run_id) for _, run_id in names],
            list(numbers),
        )
        for row in rows:
            if row["id"] is not None:
                self.adopt(row)

    def adopt(self, row: Any) -> RunRow:
        """A locked row, as it is now. `row` begins with RUN_COLUMNS."""
        values = tuple(row)[:_COLUMN_COUNT]
        run = RunRow(*values)._replace(kind=Kind(values[4]), state=State(values[5]))
        self._runs[run.no] = run
        self._numbers[run.namespace, run.id] = run.no
        return run

    def run_named(self, namespace: str, run_id: str) -> RunRow | None:
        """One of the runs that were locked."""
        number = self._numbers.get((namespace, run_id))
        return None if number is None else self._runs[number]

    def run(self, run_no: int) -> RunRow | None:
        """One of the runs that were locked; None where there is none such."""
        return self._runs.get(run_no)

    def locked(self, run_no: int) -> RunRow:
        """One of the runs that were locked, and are known to exist."""
        return self._runs[run_no]

    def forget(self, run_no: int) -> None:
        """The run is deleted, or nobody can find it any more."""
        row = self._runs.pop(run_no, None)
        if row is not None:
            self._numbers.pop((row.namespace, row.id), None)

    async def last_entry(self, run_no: int) -> tuple[int, int]:
        """Offset and time of the log's newest entry. Of all locked runs at once: one round trip for a whole group."""
        found = self._ends.get(run_no)
        if found is None:
            asked = {run_no, *self._runs} - self._ends.keys()
            rows = await self.fetch(
                "SELECT asked.run, newest.log_offset, newest.at_us FROM unnest($1::bigint[]) AS asked (run), LATERAL "
                "(SELECT log_offset, at_us FROM entries WHERE entries.run = asked.run "
                "ORDER BY log_offset DESC LIMIT 1) AS newest",
                list(asked),
            )
            self._ends.update(dict.fromkeys(asked, (0, 0)))
            self._ends.update({no: (offset, at_us) for no, offset, at_us in rows})
            found = self._ends[run_no]
        return found

    def appended(self, run_no: int, offset: int, at_us: int) -> None:
        """The log's newest entry is now this one."""
        self._ends[run_no] = (offset, at_us)

    def notice(self) -> Notice:
        """What to tell the other replicas. A run that is queued, and locked here, may have been passed over there."""
        queued = {Queued(run.namespace, run.task) for run in self._runs.values() if run.state is State.QUEUED}
        return Notice(self.changes, queued, self.vacated, self.schemas)


Source: TypeAlias = "Connection | Transaction"
"""Where to read from: what is committed, or what a transaction has done so far too."""
