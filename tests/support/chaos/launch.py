"""The real server in a world that fails, or with one safeguard taken out: `python -m support.chaos.launch`.

The product has no switch for this: a function of it is replaced wherever it was imported. All other flags go to the
server.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import apsw

from midstream.clock import SystemClock
from midstream_server.cli import main as serve
from midstream_server.domain import holding, managed
from midstream_server.domain.run import State
from midstream_server.store.postgres import connections
from midstream_server.store.postgres.transaction import Transaction
from midstream_server.store.sqlite import database, group_commit
from midstream_server.store.sqlite.append import earlier_records
from support.chaos.power_cut import PowerCut

SLOW_DISK_SECONDS = 0.03


def without_fsync() -> None:
    """Commits are written and never synced."""
    _replace(database.make_durable, lambda connection: connection.execute("PRAGMA synchronous = OFF").fetchall())


def without_fsync_of_commits() -> None:
    """The write-ahead log is synced at checkpoints only, as SQLite does by default in this mode."""
    _replace(database.make_durable, lambda connection: connection.execute("PRAGMA synchronous = NORMAL").fetchall())


def without_commit_before_receipt() -> None:
    """Senders are answered before the commit, which then takes as long as a slow disk's."""
    commit = group_commit.GroupCommit._commit

    def answer_first(self: Any, group: Any, results: Any, *rest: Any) -> None:
        for pending, result in zip(group, results, strict=True):
            if not isinstance(result, list):  # Only records are answered with a list.
                continue
            self._loop.call_soon_threadsafe(group_commit._settle, pending, result)
        time.sleep(SLOW_DISK_SECONDS)
        commit(self, group, results, *rest)

    _patch(group_commit.GroupCommit, answer_first, commit.__name__)


def without_key_check() -> None:
    """No stored idempotency key is found again, nor does the schema mind."""
    open_writer = database.open_writer

    def open_without_unique_keys(*args: Any) -> apsw.Connection:
        connection = open_writer(*args)
        connection.execute("DROP INDEX entries_key").fetchall()
        connection.execute("CREATE INDEX entries_key ON entries (run, stream, key) WHERE key IS NOT NULL").fetchall()
        return connection

    _replace(earlier_records, lambda *args: {})
    _replace(open_writer, open_without_unique_keys)


def without_cursor_check() -> None:
    """An acknowledgement sets the cursor to what it says, or as near to that as there is a record."""
    _replace(holding.moved_cursor, lambda *, cursor, through_seq, delivered_seq: min(through_seq, delivered_seq))


def without_holder_check() -> None:
    """Whoever was a holder once may go on."""
    _replace(holding.check_holder, lambda stream_id, *, claimed, current: None)


SAFEGUARDS: dict[str, Callable[[], None]] = {
    "fsync": without_fsync,
    "fsync_of_commits": without_fsync_of_commits,
    "commit_before_receipt": without_commit_before_receipt,
    "key_check": without_key_check,
    "cursor_check": without_cursor_check,
    "holder_check": without_holder_check,
}


def without_suspend_check() -> None:
    """Whatever the log holds, a run is suspended when its worker asks."""
    _replace(managed.may_suspend, lambda *args, **keywords: True)


def without_epoch_check() -> None:
    """Whoever has had a run may speak for it for as long as anybody executes it."""
    _replace(managed.fenced, lambda tenure, epoch: tenure.state is not State.RUNNING)


def without_run_lock() -> None:
    """On PostgreSQL: transactions do not wait for each other's runs, and take as long as over a slow network."""
    lock = Transaction.lock

    async def look_only(self: Transaction, *args: Any) -> None:
        fetch = self.fetch
        setattr(self, fetch.__name__, lambda statement, *values: fetch(statement.replace("FOR UPDATE", ""), *values))
        await lock(self, *args)
        setattr(self, fetch.__name__, fetch)
        await asyncio.sleep(SLOW_DISK_SECONDS)

    _patch(Transaction, look_only, lock.__name__)


def without_synchronous_commit() -> None:
    """On PostgreSQL: a commit is answered before it is on disk."""

    async def prepare(connection: Any) -> None:
        await connection.execute("SET synchronous_commit = off")

    _replace(connections._prepare, prepare)


WORKER_SAFEGUARDS: dict[str, Callable[[], None]] = {
    "suspend_check": without_suspend_check,
    "epoch_check": without_epoch_check,
}
"""Those of managed runs, which need workers to be missed."""

POSTGRES_SAFEGUARDS: dict[str, Callable[[], None]] = {
    "run_lock": without_run_lock,
    "synchronous_commit": without_synchronous_commit,
}

ALL_SAFEGUARDS = SAFEGUARDS | WORKER_SAFEGUARDS | POSTGRES_SAFEGUARDS


def _patch(of: type, method: Callable[..., Any], name: str = "") -> None:
    setattr(of, name or method.__name__, method)


def _replace(function: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    """Everywhere in the product where this function goes by its name."""
    modules = [module for name, module in sys.modules.items() if name.startswith("midstream_server.")]
    for module in modules:
        if vars(module).get(function.__name__) is function:
            setattr(module, function.__name__, replacement)


def skew_clock(seconds: float) -> None:
    """The machine's clock is ahead, as the server sees it."""
    true_us = SystemClock.now_us

    def now_us(self: SystemClock) -> int:
        return true_us(self) + round(seconds * 1_000_000)

    _patch(SystemClock, now_us)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--power-cut", action="store_true", help="unsynced writes do not outlive the process")
    parser.add_argument("--torn", metavar="SEED", help="with --power-cut: some sectors of them do")
    parser.add_argument("--without", choices=ALL_SAFEGUARDS, help="take out one safeguard")
    parser.add_argument("--clock-skew", type=float, default=0.0, metavar="SECONDS", help="its clock is ahead")
    options, server_arguments = parser.parse_known_args()
    skew_clock(options.clock_skew)
    power_cut = None
    if options.power_cut:
        power_cut = PowerCut(torn=None if options.torn is None else random.Random(options.torn))
    if options.without is not None:
        ALL_SAFEGUARDS[options.without]()
    serve(server_arguments)
    del power_cut  # Registered until here.


if __name__ == "__main__":
    main()
