"""The database file: who may open it, and what is in force once it is open."""

import threading
from pathlib import Path

import apsw
import pytest

from midstream_server.domain.limits import Limits, Periods
from midstream_server.store import DatabaseUnusable
from midstream_server.store.sqlite import SqliteStore
from midstream_server.store.sqlite.database import SCHEMA_VERSION
from store.engines import MIB, NAMESPACE, SqliteEngine, append, create, draft, short


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture
def engine(tmp_path: Path) -> SqliteEngine:
    return SqliteEngine(tmp_path)


def pragma(connection: apsw.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").get


async def test_durability_is_in_force(engine: SqliteEngine) -> None:
    for _ in range(2):
        store = await engine.open()
        assert pragma(store._writer, "journal_mode") == "wal"
        assert pragma(store._writer, "synchronous") == 2, "FULL"
        assert pragma(store._writer, "auto_vacuum") == 2, "INCREMENTAL"
        assert pragma(store._writer, "user_version") == SCHEMA_VERSION
        assert pragma(store._writer, "integrity_check") == "ok"
        await store.close()


class CountingFile(apsw.VFSFile):
    def __init__(self, vfs: "CountingVfs", name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._vfs = vfs

    def xSync(self, flags: int) -> None:
        self._vfs.syncs += 1
        super().xSync(flags)


class CountingVfs(apsw.VFS):
    """Counts how often a file is made to reach the disk."""

    def __init__(self) -> None:
        super().__init__("counting", "unix")
        self.syncs = 0

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> CountingFile:
        return CountingFile(self, name, flags)


async def test_every_commit_waits_for_the_disk(engine: SqliteEngine) -> None:
    vfs = CountingVfs()
    apsw.set_default_vfs("counting")
    try:
        store = await engine.open()
        await create(store)
        for _ in range(5):
            syncs = vfs.syncs
            await append(store, draft())
            assert vfs.syncs > syncs
        await store.close()
    finally:
        apsw.set_default_vfs("unix")
        vfs.unregister()


async def test_readers_cannot_write(engine: SqliteEngine) -> None:
    store = await engine.open()
    with pytest.raises(apsw.ReadOnlyError):
        store._reader.execute("DELETE FROM runs")
    await store.close()


async def test_a_second_server_is_refused(engine: SqliteEngine) -> None:
    store = await engine.open()
    with pytest.raises(DatabaseUnusable, match=r"midstream\.db is in use by another midstream-server; stop that one"):
        await engine.open()
    await create(store)
    await store.close()
    store = await engine.open()
    assert (await store.get_run(NAMESPACE, "run")).run_id == "run"
    await store.close()


async def test_a_refused_open_leaves_nothing_open(engine: SqliteEngine) -> None:
    engine.database.write_bytes(b"not a database, certainly not one" * 100)
    threads, files = threading.active_count(), open_files()
    for _ in range(3):
        with pytest.raises(DatabaseUnusable, match="is not an intact SQLite database"):
            await engine.open()
    assert (threading.active_count(), open_files()) == (threads, files)
    engine.database.unlink()
    store = await engine.open()
    await store.close()


@pytest.mark.parametrize(
    "content", [b"x" * 5_000, b"SQLite format 3\0" + b"\xff" * 5_000], ids=["text", "broken header"]
)
async def test_what_is_no_database_is_not_touched(engine: SqliteEngine, content: bytes) -> None:
    engine.database.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="is not an intact SQLite database"):
        await engine.open()
    assert engine.database.read_bytes() == content


@pytest.mark.parametrize("place", ["missing/midstream.db", "file/midstream.db"])
async def test_a_directory_that_cannot_be_written_to(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match=r"cannot write to .*; choose a database in a writable directory"):
        SqliteStore(tmp_path / place, limits=Limits(), periods=Periods(), on_commit=lambda _: None)


async def test_a_directory_is_no_database(engine: SqliteEngine) -> None:
    engine.database.mkdir()
    with pytest.raises(DatabaseUnusable, match="cannot open"):
        await engine.open()


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 999])
async def test_another_schema_version_is_refused(engine: SqliteEngine, version: int) -> None:
    store = await engine.open()
    await create(store)
    store._writer.execute(f"PRAGMA user_version = {version}").fetchall()
    await store.close()
    with pytest.raises(DatabaseUnusable, match=f"has schema version {version}, this server needs {SCHEMA_VERSION}"):
        await engine.open()
    connection = apsw.Connection(str(engine.database))
    assert connection.execute("SELECT count(*) FROM runs").get == 1
    connection.close()


async def test_the_database_of_another_program_is_left_alone(engine: SqliteEngine) -> None:
    connection = apsw.Connection(str(engine.database))
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(DatabaseUnusable, match="is the database of another program"):
        await engine.open()
    connection = apsw.Connection(str(engine.database))
    assert [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")] == ["bookmarks"]
    connection.close()


async def test_an_empty_file_becomes_a_database(engine: SqliteEngine) -> None:
    engine.database.touch()
    store = await engine.open()
    await create(store)
    assert pragma(store._writer, "auto_vacuum") == 2
    await store.close()


async def test_a_database_without_output_streams_gets_them(engine: SqliteEngine) -> None:
    """As the first servers of this schema version wrote it."""
    store = await engine.open()
    await create(store)
    await append(store, draft(b"kept"))
    for table in ("outputs", "output_streams", "output_writers", "output_ranges"):
        store._writer.execute(f"DROP TABLE {table}").fetchall()
    await store.close()

    store = await engine.open()
    (outcome,) = await store.outputs.append_attached(NAMESPACE, "run", "out", [draft()], now_us=0)
    assert short([outcome]) == [1]
    run = await store.get_run(NAMESPACE, "run")
    assert [stream.last_seq for stream in run.streams] == [1]
    await store.close()


async def test_the_log_of_writes_does_not_grow_for_ever(engine: SqliteEngine) -> None:
    store = await engine.open()
    await create(store)
    for _ in range(60):
        await append(store, draft(b"x" * MIB))
    wal = engine.database.with_name("midstream.db-wal")
    assert wal.stat().st_size < 40 * MIB
    await store.close()
    assert not wal.exists()
