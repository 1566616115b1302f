"""Streams that drop their oldest: what goes, what stays, and where the log says so."""

from hypothesis import example, given
from hypothesis import strategies as st

from midstream_server.domain.accept import Accepted, Head, Verdict, accept
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.overflow import Overflow
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Draft

HEAD = Head(offset=10, at_us=0, seq=5, bytes_through=50, cursor=2, cursor_bytes=20)
"""Three records of 10 bytes are unread."""


def drop_oldest(max_unread_records: int | None = None) -> Policy:
    return Policy(None, max_unread_records, True, False)


def decide(*sizes: int, head: Head = HEAD, policy: Policy, limits: Limits | None = None) -> Verdict:
    drafts = [Draft(None, b"p%d" % number, b"", size) for number, size in enumerate(sizes)]
    limits = Limits() if limits is None else limits
    return accept(drafts, stream_id="s", head=head, earlier={}, finished=None, limits=limits, policy=policy, now_us=0)


def places(verdict: Verdict) -> list[tuple[int, int]]:
    """The seq and offset of each accepted record, as its row and its receipt say."""
    receipts = [(each.seq, each.offset) for each in verdict.outcomes if isinstance(each, Accepted)]
    assert receipts == [(seq, offset) for _, seq, offset, _ in verdict.placed]
    return receipts


def test_what_has_room_drops_nothing() -> None:
    verdict = decide(10, policy=drop_oldest(4))
    assert (verdict.overflow, places(verdict)) == (None, [(6, 11)])


def test_the_drop_stands_in_front_of_the_new_record() -> None:
    verdict = decide(10, policy=drop_oldest(3))
    assert verdict.overflow == Overflow(first_seq=3, through_seq=3, through_bytes=20, offset=11)
    assert places(verdict) == [(6, 12)]
    verdict.tell_dropped(3)
    assert [each.dropped for each in verdict.outcomes if isinstance(each, Accepted)] == [1]


def test_one_drop_for_a_batch_in_front_of_its_last_record() -> None:
    verdict = decide(10, 10, 10, 10, policy=drop_oldest(2))
    assert verdict.overflow == Overflow(first_seq=3, through_seq=7, through_bytes=20, offset=14)
    assert places(verdict) == [(6, 11), (7, 12), (8, 13), (9, 15)]
    verdict.tell_dropped(7)
    assert [each.dropped for each in verdict.outcomes if isinstance(each, Accepted)] == [0, 0, 0, 5]


def test_only_the_latest_counts() -> None:
    assert decide(1, policy=drop_oldest(1)).overflow == Overflow(3, 5, 20, 11)
    empty = Head(1, 0, 0, 0, 0, 0)
    assert decide(1, head=empty, policy=drop_oldest(1)).overflow is None
    assert decide(1, 1, head=empty, policy=drop_oldest(1)).overflow == Overflow(1, 1, 0, 3)


def test_a_retry_in_the_same_batch_has_the_place_of_the_first() -> None:
    draft = Draft("k", b"p", b"", 1)
    verdict = accept(
        [draft, draft],
        stream_id="s",
        head=HEAD,
        earlier={},
        finished=None,
        limits=Limits(),
        policy=drop_oldest(1),
        now_us=0,
    )
    verdict.tell_dropped(5)
    assert verdict.outcomes == [Accepted(6, 12, 0, dropped=3), Accepted(6, 12, 0, deduplicated=True)]


def test_bytes_are_made_room_for_too() -> None:
    limits = Limits(max_unread_bytes=40)
    assert decide(10, policy=drop_oldest(), limits=limits).overflow is None
    assert decide(15, policy=drop_oldest(), limits=limits).overflow == Overflow(3, 3, 25, 11)


def test_a_record_that_can_never_fit_drops_nothing() -> None:
    verdict = decide(41, policy=drop_oldest(1), limits=Limits(max_unread_bytes=40))
    assert [each.reason for each in verdict.outcomes if isinstance(each, Refused)] == [Reason.STREAM_FULL]
    assert (verdict.placed, verdict.overflow) == ([], None)


def test_declared_limits_stand_under_the_servers_own() -> None:
    limits = Limits(max_unread_records=4)
    assert [isinstance(each, Accepted) for each in decide(1, 1, policy=UNDECLARED, limits=limits).outcomes] == [
        True,
        False,
    ]
    for declared, count in ((1, 0), (4, 1), (9, 1)):
        policy = Policy(None, declared, False, False)
        verdict = decide(1, 1, policy=policy, limits=limits)
        assert len(verdict.placed) == count
        (*_, full) = verdict.outcomes
        assert isinstance(full, Refused)
        assert (full.reason, full.metadata["max_unread_records"]) == (Reason.STREAM_FULL, str(min(declared, 4)))
    assert decide(1, 1, policy=drop_oldest(9), limits=limits).overflow == Overflow(3, 3, 20, 12)


def test_a_payload_over_the_streams_own_limit() -> None:
    policy = Policy(10, None, False, False)
    small, large = decide(10, 11, policy=policy).outcomes
    assert isinstance(small, Accepted)
    assert isinstance(large, Refused)
    assert large.reason is Reason.PAYLOAD_TOO_LARGE
    assert large.metadata == {"payload_bytes": "11", "max_payload_bytes": "10", "stream_id": "s"}


@given(
    batches=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6), min_size=1, max_size=12),
    max_records=st.integers(1, 5),
    max_bytes=st.integers(30, 100),
    acks=st.lists(st.integers(0, 3), min_size=12, max_size=12),
)
@example(batches=[[0], [0]], max_records=1, max_bytes=30, acks=[0] * 12)
def test_as_much_stays_as_fits_and_no_less(
    batches: list[list[int]], max_records: int, max_bytes: int, acks: list[int]
) -> None:
    """Played on a stream: what stays is the longest tail within both bounds, and nothing goes that could stay."""
    through = [0]
    cursor = offset = 0
    for sizes, acked in zip(batches, acks, strict=False):
        head = Head(offset, 0, len(through) - 1, through[-1], cursor, through[cursor])
        verdict = decide(*sizes, head=head, policy=drop_oldest(max_records), limits=Limits(max_unread_bytes=max_bytes))
        assert len(verdict.placed) == len(sizes)
        through += [bytes_through for *_, bytes_through in verdict.placed]
        newest = len(through) - 1
        fits = [
            start
            for start in range(cursor, newest)
            if newest - start <= max_records and through[newest] - through[start] <= max_bytes
        ]
        drop = verdict.overflow
        offsets = [place for _, place in places(verdict)]
        assert fits, "the newest alone always fits"
        if drop is None:
            assert fits[0] == cursor
        else:
            last = next(
                seq
                for seq in range(drop.through_seq, newest + 1)
                if seq >= drop.first_seq and through[seq] >= drop.through_bytes
            )
            assert (drop.first_seq, last) == (cursor + 1, fits[0])
            assert last > cursor
            cursor = last
            offsets.insert(-1, drop.offset)
        assert offsets == list(range(offset + 1, offset + 1 + len(offsets)))
        offset = offsets[-1]
        cursor = min(newest, cursor + acked)
