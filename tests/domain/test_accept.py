"""Which records of a batch are accepted: the order of the checks, the places, the bounds."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream_server.domain import errors
from midstream_server.domain.accept import Accepted, Earlier, Head, Verdict, accept
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import Limits
from midstream_server.domain.record import Draft

NOW_US = 1_000
EMPTY = Head(offset=1, at_us=900, seq=0, bytes_through=0, cursor=0, cursor_bytes=0)
FINISHED = errors.run_finished("run", "COMPLETED")
FLAW = errors.payload_invalid("payload", "is empty")
ROOM = Limits()


def draft(payload: bytes = b"p", *, key: str | None = None, size: int = 1, flaw: Refused | None = None) -> Draft:
    return Draft(key, payload, b"envelope", size, flaw)


def decide(
    *drafts: Draft,
    head: Head = EMPTY,
    earlier: dict[str, Earlier] | None = None,
    finished: Refused | None = None,
    limits: Limits = ROOM,
    now_us: int = NOW_US,
) -> Verdict:
    return accept(
        drafts,
        stream_id="stream",
        head=head,
        earlier={} if earlier is None else earlier,
        finished=finished,
        limits=limits,
        now_us=now_us,
    )


def short(verdict: Verdict) -> list[int | Reason]:
    """The seq of each accepted draft, the reason of each refused one."""
    return [each.seq if isinstance(each, Accepted) else each.reason for each in verdict.outcomes]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Which of the four checks fail, and what is the answer."""

    key: str | None = None
    payload: bytes = b"p"
    finished: bool = False
    flawed: bool = False
    full: bool = False
    answer: int | Reason

    def __str__(self) -> str:
        known = {None: "", "old": "known key", "new": "new key"}[self.key]
        said = [known, "other bytes" * (self.payload != b"p"), "finished" * self.finished, "flawed" * self.flawed]
        return ", ".join(filter(None, [*said, "full" * self.full])) or "nothing"


@pytest.mark.parametrize(
    "case",
    [
        Case(answer=8),
        Case(key="new", answer=8),
        Case(key="old", answer=3),
        Case(key="old", finished=True, flawed=True, full=True, answer=3),
        Case(key="old", payload=b"q", finished=True, flawed=True, full=True, answer=Reason.IDEMPOTENCY_KEY_REUSED),
        Case(key="new", finished=True, flawed=True, full=True, answer=Reason.RUN_FINISHED),
        Case(finished=True, flawed=True, full=True, answer=Reason.RUN_FINISHED),
        Case(flawed=True, full=True, answer=Reason.PAYLOAD_INVALID),
        Case(full=True, answer=Reason.STREAM_FULL),
    ],
    ids=str,
)
def test_key_comes_before_end_before_flaw_before_bounds(case: Case) -> None:
    head = Head(offset=20, at_us=900, seq=7, bytes_through=7, cursor=0, cursor_bytes=0)
    verdict = decide(
        draft(case.payload, key=case.key, flaw=FLAW if case.flawed else None),
        head=head,
        earlier={"old": Earlier(3, 5, 400, b"p")},
        finished=FINISHED if case.finished else None,
        limits=Limits(max_unread_records=7 if case.full else 8),
    )
    assert short(verdict) == [case.answer]
    assert len(verdict.placed) == (case.answer == 8)


def test_a_repeat_gets_the_first_place_and_time() -> None:
    verdict = decide(draft(key="old"), earlier={"old": Earlier(3, 5, 400, b"p")})
    assert verdict.outcomes == [Accepted(3, 5, 400, deduplicated=True)]


def test_a_key_is_known_within_its_batch() -> None:
    verdict = decide(draft(key="k"), draft(b"q"), draft(key="k"), draft(b"q", key="k"))
    assert short(verdict) == [1, 2, 1, Reason.IDEMPOTENCY_KEY_REUSED]
    assert verdict.outcomes[2] == Accepted(1, 2, NOW_US, deduplicated=True)
    assert [seq for _, seq, _, _ in verdict.placed] == [1, 2]


@pytest.mark.parametrize("refused", [draft(key="k", flaw=FLAW), draft(key="k", size=11)], ids=["flawed", "too full"])
def test_a_refused_record_burns_no_key(refused: Draft) -> None:
    verdict = decide(refused, draft(b"other", key="k"), limits=Limits(max_unread_bytes=10))
    assert isinstance(verdict.outcomes[0], Refused)
    assert verdict.outcomes[1] == Accepted(1, 2, NOW_US)


def test_a_refused_record_takes_no_place() -> None:
    verdict = decide(draft(), draft(flaw=FLAW), draft())
    assert short(verdict) == [1, Reason.PAYLOAD_INVALID, 2]
    assert [place for _, *place in verdict.placed] == [[1, 2, 1], [2, 3, 2]]


@pytest.mark.parametrize(("now_us", "at_us"), [(899, 900), (900, 900), (901, 901)])
def test_time_never_goes_backwards(now_us: int, at_us: int) -> None:
    verdict = decide(draft(), now_us=now_us)
    assert verdict.at_us == at_us
    assert verdict.outcomes == [Accepted(1, 2, at_us)]


@pytest.mark.parametrize(
    ("unread", "cursor", "answer"), [(8, 0, 9), (9, 0, 10), (10, 0, Reason.STREAM_FULL), (10, 1, 11), (10, 10, 11)]
)
def test_the_bound_on_records_counts_the_unread_ones(unread: int, cursor: int, answer: int | Reason) -> None:
    head = replace_head(seq=unread, cursor=cursor)
    assert short(decide(draft(), head=head, limits=Limits(max_unread_records=10))) == [answer]


@pytest.mark.parametrize(
    ("through", "consumed", "size", "answer"),
    [
        (0, 0, 100, 1),
        (0, 0, 101, Reason.STREAM_FULL),
        (99, 0, 1, 1),
        (99, 0, 2, Reason.STREAM_FULL),
        (100, 0, 0, 1),
        (100, 0, 1, Reason.STREAM_FULL),
        (1_000_100, 1_000_000, 1, Reason.STREAM_FULL),
        (1_000_100, 1_000_001, 1, 1),
    ],
)
def test_the_bound_on_bytes_counts_the_unread_ones(
    through: int, consumed: int, size: int, answer: int | Reason
) -> None:
    head = replace_head(bytes_through=through, cursor_bytes=consumed)
    assert short(decide(draft(size=size), head=head, limits=Limits(max_unread_bytes=100))) == [answer]


def test_a_batch_fills_a_stream_up_to_its_bound_and_a_smaller_record_may_still_fit() -> None:
    verdict = decide(draft(size=6), draft(size=5), draft(size=4), limits=Limits(max_unread_bytes=10))
    assert short(verdict) == [1, Reason.STREAM_FULL, 2]


def test_a_full_stream_says_how_full_it_is() -> None:
    (refused,) = decide(draft(), head=replace_head(seq=10), limits=Limits(max_unread_records=10)).outcomes
    assert isinstance(refused, Refused)
    assert refused.metadata == {"stream_id": "stream", "unread_records": "10", "max_unread_records": "10"}
    assert refused.retry_after_us is not None


def test_an_empty_batch_changes_nothing() -> None:
    assert decide() == Verdict([], [], NOW_US)


DRAFTS = st.lists(
    st.builds(
        draft,
        st.sampled_from([b"p", b"q"]),
        key=st.none() | st.sampled_from("abc"),
        size=st.integers(0, 40),
        flaw=st.sampled_from([None, None, FLAW]),
    )
)


@given(drafts=DRAFTS, known=st.sets(st.sampled_from("ab")), finished=st.sampled_from([None, None, FINISHED]))
def test_every_draft_has_its_outcome_and_places_are_without_gaps(
    drafts: list[Draft], known: set[str], finished: Refused | None
) -> None:
    head = Head(offset=50, at_us=900, seq=20, bytes_through=500, cursor=15, cursor_bytes=450)
    earlier = {key: Earlier(seq, seq + 1, 100, b"p") for seq, key in enumerate(sorted(known), start=1)}
    limits = Limits(max_unread_records=10, max_unread_bytes=200)
    verdict = decide(*drafts, head=head, earlier=earlier, finished=finished, limits=limits)

    assert len(verdict.outcomes) == len(drafts)
    new = [
        (each, outcome)
        for each, outcome in zip(drafts, verdict.outcomes, strict=True)
        if isinstance(outcome, Accepted) and not outcome.deduplicated
    ]
    assert [(draft, seq, offset) for draft, seq, offset, _ in verdict.placed] == [
        (each, outcome.seq, outcome.offset) for each, outcome in new
    ]
    assert [outcome.seq for _, outcome in new] == list(range(21, 21 + len(new)))
    assert [outcome.offset for _, outcome in new] == list(range(51, 51 + len(new)))
    total = head.bytes_through
    for draft, seq, _, bytes_through in verdict.placed:
        total += draft.size
        assert bytes_through == total
        assert draft.flaw is None
        assert seq - head.cursor <= limits.max_unread_records
        assert total - head.cursor_bytes <= limits.max_unread_bytes
    keys = [draft.key for draft, _, _, _ in verdict.placed if draft.key is not None]
    assert len(keys) == len(set(keys))
    assert not known & set(keys)
    assert finished is None or not verdict.placed


@given(drafts=DRAFTS)
def test_the_same_batch_again_adds_nothing_to_what_had_keys(drafts: list[Draft]) -> None:
    first = decide(*drafts)
    stored = {
        draft.key: Earlier(seq, offset, first.at_us, draft.payload)
        for draft, seq, offset, _ in first.placed
        if draft.key is not None
    }
    head = EMPTY
    for _, seq, offset, bytes_through in first.placed:
        head = replace_head(offset=offset, seq=seq, bytes_through=bytes_through)
    again = decide(*drafts, head=head, earlier=stored, now_us=NOW_US + 5)
    assert all(draft.key is None for draft, _, _, _ in again.placed)
    for each, before, after in zip(drafts, first.outcomes, again.outcomes, strict=True):
        if each.key is not None and isinstance(before, Accepted):
            assert isinstance(after, Accepted)
            assert after == before._replace(deduplicated=True)


def replace_head(**changes: int) -> Head:
    return EMPTY._replace(**changes)
