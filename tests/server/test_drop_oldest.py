"""A stream that drops its oldest, as its holder sees it."""

from collections.abc import AsyncIterator

import pytest

from midstream.clock import ManualClock
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.domain.accept import Accepted
from midstream_server.domain.policy import Policy
from midstream_server.domain.record import Draft
from midstream_server.operations.core import Core
from midstream_server.server import Server, Servicers
from midstream_server.settings import Settings
from support.calls import STREAM, Subscriber, ack, attach, get_run, receive
from support.stubs import Stubs

LATEST = Policy(None, 1, True, False)


class ServerWithCore(Server):
    core: Core

    def _servicers(self, core: Core) -> Servicers:
        self.core = core
        return super()._servicers(core)


@pytest.fixture
async def server(settings: Settings, clock: ManualClock) -> AsyncIterator[ServerWithCore]:
    async with ServerWithCore(settings, clock=clock) as server:
        yield server


async def push(server: ServerWithCore, run_id: str, count: int) -> None:
    """Sends records of one byte, one at a time."""
    core = server.core
    for _ in range(count):
        draft = Draft(None, b"\x32\x03\x0a\x011", b"", 1)
        (outcome,) = await core.store.append(
            "default", run_id, STREAM, [draft], now_us=core.clock.now_us(), policy=LATEST
        )
        assert isinstance(outcome, Accepted)


async def test_a_subscription_goes_on_behind_what_was_dropped(server: ServerWithCore, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await push(server, run_id, 3)
    reader = await Subscriber(stubs, run_id).open(credit=1)
    assert (reader.cursor, reader.last_seq) == (2, 3)
    assert await reader.takes(1) == [3]
    await push(server, run_id, 3)
    await reader.grants(2)
    assert await reader.takes(1) == [6]
    await push(server, run_id, 1)
    assert await reader.takes(1) == [7]
    await reader.acks(3)
    assert (await reader.hears("acked")).acked.cursor == 6, "it may have been dropped; the cursor does not go back"
    await reader.acks(7)
    assert (await reader.hears("acked")).acked.cursor == 7
    assert (await get_run(stubs, run_id)).streams[0].unread_count == 0


async def test_receive_and_peek_begin_behind_what_was_dropped(server: ServerWithCore, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await push(server, run_id, 1)
    first = await receive(stubs, run_id)
    assert [record.seq for record in first.records] == [1]
    await push(server, run_id, 2)
    then = await receive(stubs, run_id, holder_epoch=first.holder_epoch)
    assert ([record.seq for record in then.records], then.cursor) == ([3], 2)
    peeked = await stubs.streams.Peek(pb.PeekRequest(run_id=run_id, stream_id=STREAM))
    assert (peeked.record.seq, peeked.unread_count) == (3, 1)
    assert await ack(stubs, run_id, first.holder_epoch, 1) == 2
