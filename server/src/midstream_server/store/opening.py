"""Opens the store that the settings name."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from midstream_server.domain.limits import Limits, Periods
from midstream_server.store.commit_report import CommitReport
from midstream_server.store.credentials import CredentialStore
from midstream_server.store.interface import Store
from midstream_server.store.managed import NO_SEATS, ManagedStore, Seats
from midstream_server.store.outputs import OutputStore
from midstream_server.store.postgres import PostgresStore
from midstream_server.store.schemas import SchemaStore
from midstream_server.store.sqlite import SqliteStore


class WholeStore(Store, Protocol):
    """A store with what workers need of it."""

    @property
    def managed(self) -> ManagedStore: ...

    @property
    def outputs(self) -> OutputStore: ...

    @property
    def credentials(self) -> CredentialStore: ...

    @property
    def schemas(self) -> SchemaStore: ...


async def open_store(
    place: Path | str,
    *,
    limits: Limits,
    periods: Periods,
    on_commit: Callable[[CommitReport], None],
    seats: Seats = NO_SEATS,
) -> WholeStore:
    """`place` is the path of an SQLite database, or a URL of PostgreSQL. Raises DatabaseUnusable."""
    if isinstance(place, Path):
        return SqliteStore(place, limits=limits, periods=periods, on_commit=on_commit, seats=seats)
    return await PostgresStore.open(place, limits=limits, periods=periods, on_commit=on_commit, seats=seats)
