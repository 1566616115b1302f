"""Which records may be acknowledged: a gap-free prefix of finished ones."""

from random import Random

import pytest

from midstream.receiving import AckTracker


def test_the_cursor_waits_for_the_oldest_record() -> None:
    tracker = AckTracker()
    for seq in (1, 2, 3):
        tracker.use(seq)
    tracker.finish(3)
    tracker.finish(2)
    assert tracker.cursor == 0
    tracker.finish(1)
    assert tracker.cursor == 3
    assert tracker.open_count == 0


def test_a_record_is_finished_when_each_of_its_uses_is() -> None:
    tracker = AckTracker()
    tracker.use(1)
    tracker.use(1)
    tracker.finish(1)
    assert tracker.cursor == 0
    tracker.finish(1)
    assert tracker.cursor == 1


def test_a_record_that_nobody_used_after_all_is_unconsumed_again() -> None:
    tracker = AckTracker()
    tracker.use(1)
    assert tracker.release(1)
    assert tracker.cursor == 0
    tracker.use(1)
    tracker.finish(1)
    assert tracker.cursor == 1


@pytest.mark.parametrize("finish_first", [True, False])
def test_a_released_use_beside_a_finished_one_holds_nothing_up(finish_first: bool) -> None:
    tracker = AckTracker()
    tracker.use(1)
    tracker.use(1)
    if finish_first:
        tracker.finish(1)
    assert not tracker.release(1)
    if not finish_first:
        tracker.finish(1)
    assert tracker.cursor == 1


def test_a_released_record_holds_back_those_behind_it() -> None:
    tracker = AckTracker()
    tracker.use(1)
    tracker.use(2)
    tracker.finish(2)
    tracker.release(1)
    assert tracker.cursor == 0


def test_begins_behind_an_earlier_cursor_and_never_moves_back() -> None:
    tracker = AckTracker()
    tracker.start_behind(7)
    assert tracker.cursor == 7
    tracker.use(8)
    tracker.finish(8)
    tracker.start_behind(7)
    assert tracker.cursor == 8


def test_an_earlier_cursor_passes_what_is_still_in_use() -> None:
    tracker = AckTracker()
    tracker.use(1)
    tracker.use(2)
    tracker.finish(2)
    tracker.start_behind(1)
    assert tracker.cursor == 2
    tracker.finish(1)
    assert tracker.cursor == 2


@pytest.mark.parametrize("seed", range(20))
def test_any_order_ends_at_the_last_record(seed: int) -> None:
    random = Random(seed)
    tracker = AckTracker()
    uses = [seq for seq in range(1, 51) for _ in range(random.randint(1, 3))]
    for seq in uses:
        tracker.use(seq)
    random.shuffle(uses)
    open_uses = list(uses)
    for seq in uses:
        tracker.finish(seq)
        open_uses.remove(seq)
        assert tracker.cursor == min(open_uses, default=51) - 1


def test_the_cursor_passes_what_was_dropped() -> None:
    tracker = AckTracker()
    tracker.use(1)
    tracker.skip(2, 4)
    tracker.use(5)
    tracker.finish(5)
    assert tracker.cursor == 0
    tracker.finish(1)
    assert tracker.cursor == 5


def test_dropped_ranges_that_the_cursor_has_passed_in_part() -> None:
    tracker = AckTracker()
    tracker.skip(4, 6)
    tracker.skip(2, 3)
    assert tracker.cursor == 0
    tracker.start_behind(5)
    assert tracker.cursor == 6
    tracker.skip(1, 6)
    assert tracker.cursor == 6
    tracker.skip(5, 9)
    assert tracker.cursor == 9


def test_a_record_in_use_does_not_matter_any_more_when_it_was_dropped() -> None:
    tracker = AckTracker()
    tracker.use(1)
    tracker.skip(1, 1)
    assert tracker.cursor == 1
    tracker.finish(1)
    assert (tracker.cursor, tracker.open_count) == (1, 0)


def test_what_is_finished_beyond_the_cursor_is_told_and_passed_by_another() -> None:
    tracker = AckTracker()
    for seq in range(1, 9):
        tracker.use(seq)
    for seq in (1, 3, 4, 8):
        tracker.finish(seq)
    tracker.skip(5, 5)
    assert tracker.beyond == [(3, 5), (8, 8)]
    other = AckTracker()
    other.start_behind(tracker.cursor)
    for first_seq, last_seq in tracker.beyond:
        other.skip(first_seq, last_seq)
    assert other.beyond == tracker.beyond
    assert [seq for seq in range(1, 10) if other.is_finished(seq)] == [1, 3, 4, 5, 8]
    for seq in (2, 6, 7):
        other.use(seq)
        other.finish(seq)
    assert (other.cursor, other.beyond) == (8, [])
