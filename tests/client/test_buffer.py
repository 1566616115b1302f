"""The four views of a stream's buffer, driven by hand: no loop, no server."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import pytest

from midstream.receiving import HandlerQueue, Receive, StreamBuffer


@dataclass(frozen=True)
class Item:
    seq: int


class Later:
    """What an async handler returns here; the test says when it ends."""

    def __await__(self) -> "Later":
        raise AssertionError("nobody awaits in these tests")


class Stream:
    """A buffer with a turn that a test runs by hand, and what its handlers and receives got."""

    def __init__(self) -> None:
        self.caught_up = True
        self.is_due = False
        self.buffer = StreamBuffer[Item](wake=self._wake, caught_up=lambda: self.caught_up)
        self.failures: list[tuple[int, str]] = []
        self.calls: deque[Callable[[BaseException | None], None]] = deque()

    def _wake(self) -> None:
        self.is_due = True

    def put(self, *seqs: int) -> None:
        self.buffer.put(Item(seq) for seq in seqs)

    def turn(self) -> None:
        """Hands out all there is, if the buffer asked for it."""
        if self.is_due:
            self.is_due = False
            while self.buffer.hand_out():
                pass

    def on(self, handle: Callable[[int], object]) -> HandlerQueue[Item]:
        def finished(item: Item, error: BaseException | None) -> None:
            if error is not None:
                self.failures.append((item.seq, repr(error)))
            self.buffer.tracker.finish(item.seq)

        handler = HandlerQueue[Item](lambda item: handle(item.seq), spawn=self._spawn, finished=finished)
        self.buffer.attach(handler)
        return handler

    def _spawn(self, _: Awaitable[object], ended: Callable[[BaseException | None], None]) -> None:
        self.calls.append(ended)

    def end_call(self, error: BaseException | None = None) -> None:
        """The oldest async call ends."""
        self.calls.popleft()(error)

    def receive(self, *, immediate: bool = False, everything: bool = False) -> "Pending":
        return Pending(self, immediate=immediate, everything=everything)

    def peek(self) -> int | None:
        newest = self.buffer.newest()
        return None if newest is None else newest.seq


class Pending:
    """A pending receive, and what came of it."""

    def __init__(self, stream: Stream, *, immediate: bool, everything: bool) -> None:
        self.done = False
        self.gone = False
        self._stream = stream
        self._receive: Receive[Item] = stream.buffer.receive(self._settle, immediate=immediate, everything=everything)

    def _settle(self) -> bool:
        if self.gone:
            return False
        self.done = True
        return True

    @property
    def got(self) -> list[int]:
        return [item.seq for item in self._receive.records]

    def cancel(self) -> None:
        self._stream.buffer.cancel(self._receive)

    def expire(self) -> None:
        self._stream.buffer.expire(self._receive)


def test_a_record_before_the_first_listener_waits_for_it() -> None:
    stream = Stream()
    stream.put(1, 2)
    stream.turn()
    assert stream.peek() == 2
    got: list[int] = []
    stream.on(got.append)
    assert got == []
    stream.turn()
    assert got == [1, 2]
    assert stream.peek() is None
    assert stream.buffer.tracker.cursor == 2


def test_all_handlers_of_the_turn_share_the_backlog() -> None:
    stream = Stream()
    stream.put(1, 2)
    first, second, late = list[int](), list[int](), list[int]()
    stream.on(first.append)
    stream.on(second.append)
    stream.turn()
    stream.on(late.append)
    stream.put(3)
    stream.turn()
    assert (first, second, late) == ([1, 2, 3], [1, 2, 3], [3])


@pytest.mark.parametrize("on_first", [True, False])
def test_on_and_once_in_one_turn_both_get_the_record(on_first: bool) -> None:
    stream = Stream()
    stream.put(1, 2)
    got: list[int] = []
    if on_first:
        stream.on(got.append)
    once = stream.receive()
    if not on_first:
        stream.on(got.append)
    stream.turn()
    assert got == [1, 2]
    assert once.got == [1]


def test_receives_are_served_in_the_order_in_which_they_asked() -> None:
    stream = Stream()
    first, second = stream.receive(), stream.receive()
    stream.put(1)
    stream.turn()
    assert (first.got, second.got) == ([1], [])
    stream.put(2, 3)
    stream.turn()
    assert second.got == [2]
    assert stream.peek() == 3


def test_a_cancelled_receive_consumes_nothing() -> None:
    stream = Stream()
    first, second = stream.receive(), stream.receive()
    first.cancel()
    stream.put(1)
    stream.turn()
    assert (first.got, second.got) == ([], [1])


def test_a_receive_cancelled_in_the_turn_that_delivers_gives_its_record_back() -> None:
    stream = Stream()
    first = stream.receive()
    stream.put(1, 2)
    stream.turn()
    assert first.done
    first.cancel()
    assert stream.peek() == 2
    again, behind = stream.receive(), stream.receive()
    stream.turn()
    assert (again.got, behind.got) == ([1], [2])


def test_records_given_back_in_any_order_come_in_order_again() -> None:
    stream = Stream()
    receives = [stream.receive() for _ in range(3)]
    stream.put(1, 2, 3, 4)
    stream.turn()
    for receive in (receives[1], receives[2], receives[0]):
        receive.cancel()
    got: list[int] = []
    stream.on(got.append)
    stream.turn()
    assert got == [1, 2, 3, 4]
    assert stream.buffer.tracker.cursor == 4


def test_a_receive_whose_caller_has_gone_is_passed_over() -> None:
    stream = Stream()
    first, second = stream.receive(), stream.receive()
    first.gone = True
    stream.put(1)
    stream.turn()
    assert second.got == [1]
    first.cancel()
    assert stream.peek() is None


def test_a_handler_that_cancels_the_pending_receive_keeps_the_record() -> None:
    stream = Stream()
    once = stream.receive()
    got: list[int] = []

    def handle(seq: int) -> None:
        got.append(seq)
        once.cancel()

    stream.on(handle)
    stream.put(1)
    stream.turn()
    assert (got, once.got, stream.peek()) == ([1], [], None)


def test_what_a_handler_has_got_stays_consumed_when_a_receive_gives_it_back() -> None:
    stream = Stream()
    got: list[int] = []
    stream.on(got.append)
    once = stream.receive()
    stream.put(1)
    stream.turn()
    assert stream.buffer.tracker.cursor == 0
    once.cancel()
    stream.turn()
    assert (got, stream.peek(), stream.buffer.tracker.cursor) == ([1], None, 1)


def test_an_immediate_receive_ends_with_the_turn() -> None:
    stream = Stream()
    empty = stream.receive(immediate=True)
    assert not empty.done
    stream.turn()
    assert (empty.done, empty.got) == (True, [])
    stream.put(1)
    full = stream.receive(immediate=True)
    stream.turn()
    assert (full.done, full.got) == (True, [1])


def test_an_immediate_receive_waits_for_the_backlog_to_arrive() -> None:
    stream = Stream()
    stream.caught_up = False
    once = stream.receive(immediate=True)
    stream.turn()
    assert not once.done
    stream.put(1)
    stream.turn()
    assert once.got == [1]


def test_draining_takes_all_there_is_and_leaves_earlier_receives_their_turn() -> None:
    stream = Stream()
    stream.put(1, 2, 3)
    once = stream.receive()
    drain = stream.receive(immediate=True, everything=True)
    stream.turn()
    assert (once.got, drain.got, drain.done) == ([1], [2, 3], True)


def test_a_drain_goes_on_until_the_backlog_has_arrived_and_gives_all_back_when_cancelled() -> None:
    stream = Stream()
    stream.caught_up = False
    drain = stream.receive(immediate=True, everything=True)
    stream.put(1, 2)
    stream.turn()
    assert (drain.got, drain.done) == ([1, 2], False)
    drain.cancel()
    stream.put(3)
    again = stream.receive(immediate=True, everything=True)
    stream.caught_up = True
    stream.turn()
    assert (again.got, again.done) == ([1, 2, 3], True)


def test_an_expired_receive_never_swallows_a_record() -> None:
    stream = Stream()
    once = stream.receive()
    once.expire()
    assert (once.done, once.got) == (True, [])
    stream.put(1)
    stream.turn()
    assert once.got == []
    assert stream.peek() == 1


def test_a_timer_that_fires_behind_the_record_changes_nothing() -> None:
    stream = Stream()
    once = stream.receive()
    stream.put(1)
    stream.turn()
    once.expire()
    assert once.got == [1]


def test_a_raising_handler_is_reported_and_delivery_goes_on() -> None:
    stream = Stream()
    good: list[int] = []

    def bad(seq: int) -> None:
        raise ValueError(f"not {seq}")

    stream.on(bad)
    stream.on(good.append)
    stream.put(1, 2)
    stream.turn()
    assert good == [1, 2]
    assert stream.failures == [(1, "ValueError('not 1')"), (2, "ValueError('not 2')")]
    assert stream.buffer.tracker.cursor == 2


def test_an_async_handler_handles_one_record_at_a_time_and_holds_nobody_up() -> None:
    stream = Stream()
    begun, quick = list[int](), list[int]()

    def slow(seq: int) -> Later:
        begun.append(seq)
        return Later()

    stream.on(slow)
    stream.on(quick.append)
    stream.put(1, 2, 3)
    stream.turn()
    assert (begun, quick) == ([1], [1, 2, 3])
    assert (stream.buffer.backlog, stream.buffer.tracker.cursor) == (3, 0)
    stream.end_call(ValueError("one"))
    assert begun == [1, 2]
    assert (stream.buffer.tracker.cursor, stream.failures) == (1, [(1, "ValueError('one')")])
    stream.end_call()
    stream.end_call()
    assert (begun, stream.buffer.tracker.cursor) == ([1, 2, 3], 3)


def test_a_handler_switched_off_returns_the_records_it_never_began() -> None:
    stream = Stream()
    handler = stream.on(lambda seq: Later())
    stream.put(1, 2, 3)
    stream.turn()
    stream.buffer.detach(handler)
    stream.buffer.detach(handler)
    assert stream.peek() == 3
    once = stream.receive()
    stream.turn()
    assert once.got == [2]
    stream.end_call()
    assert stream.buffer.tracker.cursor == 1


def test_a_handler_may_switch_itself_and_the_next_one_off() -> None:
    stream = Stream()
    first, second = list[int](), list[int]()

    def handle(seq: int) -> None:
        first.append(seq)
        stream.buffer.detach(one)
        stream.buffer.detach(two)

    one = stream.on(handle)
    two = stream.on(second.append)
    stream.put(1, 2)
    stream.turn()
    assert (first, second, stream.peek()) == ([1], [], 2)


def test_a_handler_attached_by_a_handler_gets_the_records_behind() -> None:
    stream = Stream()
    inner: list[int] = []
    attached: list[object] = []

    def outer(seq: int) -> None:
        if not attached:
            attached.append(stream.on(inner.append))

    stream.on(outer)
    stream.put(1, 2)
    stream.turn()
    assert inner == [2]


def test_a_record_that_comes_twice_is_put_once() -> None:
    stream = Stream()
    stream.buffer.start_behind(4)
    stream.put(4, 5, 5, 6)
    stream.put(5, 6, 7)
    got: list[int] = []
    stream.on(got.append)
    stream.turn()
    assert got == [5, 6, 7]
    assert stream.buffer.tracker.cursor == 7


def test_peek_shows_a_glimpse_until_the_record_itself_has_come() -> None:
    stream = Stream()
    stream.buffer.glimpse(Item(3))
    assert stream.peek() == 3
    stream.put(1)
    assert stream.peek() == 3
    stream.put(2, 3, 4)
    assert stream.peek() == 4
    stream.on(lambda seq: None)
    stream.turn()
    assert stream.peek() is None


def test_nothing_is_handed_out_after_the_end() -> None:
    stream = Stream()
    begun: list[int] = []

    def slow(seq: int) -> Later:
        begun.append(seq)
        return Later()

    stream.on(slow)
    stream.put(1, 2)
    stream.turn()
    once = stream.receive()
    stream.put(3)
    stream.buffer.close()
    stream.turn()
    stream.end_call()
    assert (begun, once.got, stream.buffer.tracker.cursor) == ([1], [], 1)
    assert len(stream.buffer) == 2


def test_a_thousand_cancelled_receives_leave_nothing() -> None:
    stream = Stream()
    for receive in [stream.receive() for _ in range(1_000)]:
        receive.cancel()
    assert not stream.buffer._receives
    stream.put(1)
    stream.turn()
    assert stream.peek() == 1


@pytest.mark.parametrize("seed", range(60))
def test_switching_between_the_views_never_loses_or_repeats_a_record(seed: int) -> None:
    random = Random(seed)
    stream = Stream()
    handled, received = list[int](), list[int]()
    pending: list[Pending] = []
    handlers: list[HandlerQueue[Item]] = []

    def collect() -> None:
        for receive in [each for each in pending if each.done]:
            pending.remove(receive)
            if random.random() < 0.3:
                receive.cancel()  # in the turn that delivers
            else:
                received.extend(receive.got)
                for seq in receive.got:
                    stream.buffer.tracker.finish(seq)

    sent = 0
    for _ in range(200):
        match random.randrange(6):
            case 0 | 1:
                stream.put(*range(sent + 1, sent + 3))
                sent += 2
            case 2:
                pending.append(stream.receive(immediate=random.random() < 0.3))
            case 3 if pending:
                pending.pop(random.randrange(len(pending))).cancel()
            case 4 if not handlers:
                handlers.append(stream.on(handled.append))
            case 5 if handlers:
                stream.buffer.detach(handlers.pop())
        while stream.buffer.hand_out():
            collect()
    for receive in pending:
        receive.cancel()
    for handler in handlers:
        stream.buffer.detach(handler)
    rest = stream.receive(immediate=True, everything=True)
    stream.turn()

    assert sorted(set(handled) | set(received) | set(rest.got)) == list(range(1, sent + 1))
    assert handled == sorted(set(handled))
    assert len(received) == len(set(received))
    assert set(rest.got).isdisjoint({*handled, *received})
    assert stream.buffer.tracker.cursor == min(rest.got, default=sent + 1) - 1


# Streams that drop their oldest


def test_a_gap_does_not_hold_the_cursor_up() -> None:
    stream = Stream()
    got: list[int] = []
    stream.on(got.append)
    stream.put(1, 2, 7, 9)
    stream.turn()
    assert (got, stream.buffer.tracker.cursor) == ([1, 2, 7, 9], 9)


def test_a_gap_behind_a_record_that_is_not_finished() -> None:
    stream = Stream()
    stream.on(lambda _: Later())
    stream.put(1, 5)
    stream.turn()
    assert stream.buffer.tracker.cursor == 0
    stream.end_call()
    assert stream.buffer.tracker.cursor == 4
    stream.end_call()
    assert stream.buffer.tracker.cursor == 5


def test_what_was_dropped_is_not_handed_out() -> None:
    stream = Stream()
    stream.put(1, 2, 3)
    stream.buffer.drop(1, 2)
    assert (stream.peek(), len(stream.buffer), stream.buffer.tracker.cursor) == (3, 1, 2)
    got: list[int] = []
    stream.on(got.append)
    stream.turn()
    assert got == [3]


def test_what_was_taken_stays_taken() -> None:
    stream = Stream()
    receive = stream.receive()
    stream.put(1, 2, 3)
    stream.turn()
    stream.buffer.tracker.finish(1)
    stream.buffer.drop(1, 2)
    assert (receive.got, stream.buffer.tracker.cursor) == ([1], 2)
    receive = stream.receive()
    stream.turn()
    assert receive.got == [3]


def test_a_busy_handler_does_not_get_what_was_dropped_meanwhile() -> None:
    stream = Stream()
    got: list[int] = []
    other: list[int] = []

    def busy(seq: int) -> Later:
        got.append(seq)
        return Later()

    stream.on(busy)
    stream.put(1, 2, 3)
    stream.turn()
    stream.buffer.drop(2, 2)
    stream.on(other.append)
    stream.end_call()
    stream.end_call()
    stream.turn()
    assert (got, other, stream.buffer.tracker.cursor) == ([1, 3], [], 3)


def test_what_another_handler_had_is_consumed_though_it_was_dropped() -> None:
    stream = Stream()
    quick: list[int] = []
    stream.on(quick.append)
    slow = stream.on(lambda _: Later())
    stream.put(1, 2)
    stream.turn()
    stream.buffer.drop(2, 2)
    assert (quick, len(slow)) == ([1, 2], 1)
    stream.end_call()
    assert stream.buffer.tracker.cursor == 2
    assert stream.buffer.tracker.open_count == 0
