"""`midstream-server`, stamped."""

import asyncio

from bench.trace import stamps
from midstream_server import cli
from midstream_server.operations.work.session import Session
from midstream_server.operations.work.work import Work
from midstream_server.store.sqlite.group_commit import GroupCommit
from midstream_server.store.sqlite.store import SqliteStore
from midstream_server.transport import worker_service
from midstream_server.transport.drafts import Drafter

if __name__ == "__main__":
    stamps.before(Drafter, "drafts", "server: frame parsed, in a task of its own")
    stamps.before(SqliteStore, "append", "server: checked, given to the store")
    stamps.before(GroupCommit, "_begin", "server: transaction begins")
    stamps.before(GroupCommit, "_commit", "server: commit's thread awake")
    stamps.before(asyncio.BaseEventLoop, "call_soon_threadsafe", "server: on disk")
    stamps.after(Session, "prepare", "server: statements done, known entries assigned")
    stamps.after(worker_service, "_encode", "server: assignment encoded")
    stamps.before(GroupCommit, "_committed", "server: loop knows that it is on disk")
    stamps.after(Session, "assign", "server: new entries told")
    stamps.send_before(Work, "suspend")
    cli.main()
