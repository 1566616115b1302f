"""A writer killed at any moment: a drop is in the log with the record that needed the room, or not at all."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from midstream_server.domain.run import EntryKind
from store.engines import ENGINES, MUCH, NAMESPACE, PostgresEngine, SqliteEngine
from store.managed_runs import fact
from support.postgres import Databases

KEEPS = 3
WRITER = """
import asyncio, json, sys
from pathlib import Path
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.policy import Policy
from midstream_server.store.postgres import PostgresStore
from midstream_server.store.sqlite import SqliteStore
from store.engines import NAMESPACE, NOW_US, draft, ignore, new_run
_, engine, place, first = sys.argv

async def write():
    options = {"limits": Limits(), "periods": Periods(), "on_commit": ignore}
    store = SqliteStore(Path(place), **options) if engine == "sqlite" else await PostgresStore.open(place, **options)
    await store.create_run(new_run(), now_us=NOW_US)
    async def send(number):
        batch = [draft(b"x" * (number % 5), key=f"{number:06}-{index}") for index in range(number % 4 + 1)]
        policy = Policy(None, KEEPS, True, False)
        outcomes = await store.append(NAMESPACE, "run", "s", batch, now_us=NOW_US, policy=policy)
        told = [[each.seq, each.offset, each.dropped, each.deduplicated] for each in outcomes]
        print(json.dumps([number, told]), flush=True)
    for number in range(int(first), 1_000_000, 3):
        await asyncio.gather(*(send(number + index) for index in range(3)))

asyncio.run(write())
""".replace("KEEPS", str(KEEPS))

Told = tuple[int, int, int, bool]
"""Of a record: its seq, its offset, how many were dropped for it, whether it had been there before."""


def written(arguments: list[str], *, receipts: int) -> list[tuple[int, list[Told]]]:
    """Kills the writer after so many batches; what it had said of each by then."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITER, *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(receipts)]
        writer.kill()
        lines += writer.stdout.readlines()
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("name", ENGINES)
async def test_a_drop_is_whole_or_not_at_all(name: str, tmp_path: Path, databases: Databases) -> None:
    rng = random.Random("drops")
    told: dict[int, Told] = {}
    with ENGINES[name](tmp_path, databases) as engine:
        assert isinstance(engine, SqliteEngine | PostgresEngine)
        place = str(engine.database) if isinstance(engine, SqliteEngine) else engine.url
        first = 0
        for _ in range(2):
            for number, batch in written([name, place, str(first)], receipts=rng.randint(20, 60)):
                first = max(first, number + 1)
                for record in batch:
                    # Said again after the kill: what a lost answer had said of drops stays unsaid.
                    told[record[0]] = record
        store = await engine.open()
        run = await store.get_run(NAMESPACE, "run")
        log = await store.managed.read_log(run.no, after_offset=0, max_entries=100_000, max_bytes=MUCH)
        await store.close()
    assert log is not None
    assert [entry.offset for entry in log.entries] == list(range(1, len(log.entries) + 1))
    sizes = [0]
    dropped_through = 0
    room_for: dict[int, int] = {}
    for entry, after in zip(log.entries, [*log.entries[1:], None], strict=True):
        if entry.kind is EntryKind.RECORD:
            assert entry.seq == len(sizes)
            sizes.append(len(entry.body.removesuffix(b"+envelope")))
            if entry.seq in told:
                _, offset, dropped, deduplicated = told.pop(entry.seq)
                assert offset == entry.offset
                assert dropped == (0 if deduplicated else room_for.get(entry.seq, 0))
        elif entry.kind is EntryKind.RECORDS_DROPPED:
            drop = fact(entry).records_dropped
            assert drop.first_seq == dropped_through + 1, "each once"
            dropped_through = drop.last_seq
            assert after is not None
            assert after.seq == len(sizes), "right in front of its record"
            assert drop.last_seq == after.seq - KEEPS
            room_for[after.seq] = drop.last_seq - drop.first_seq + 1
    assert not told, "acknowledged, and gone"
    (stream,) = run.streams
    assert (stream.last_seq, stream.cursor) == (len(sizes) - 1, len(sizes) - 1 - KEEPS)
    assert stream.cursor == dropped_through
    assert stream.unread_bytes == sum(sizes[-KEEPS:])
    assert len(room_for) > 20
