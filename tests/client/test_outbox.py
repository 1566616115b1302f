"""Records on their way: what shares a frame, in which order frames leave, and who hears what."""

from collections.abc import Sequence

import pytest

from midstream.errors import MidstreamError, Unavailable
from midstream.outbox import MAX_FRAME_BYTES, MAX_FRAME_RECORDS, Frame, Outbox
from midstream.v1.record_pb2 import Payload
from midstream.v1.stream_service_pb2 import Accepted, Receipt

A, B = ("run_1", "a"), ("run_1", "b")
GONE = Unavailable("gone", code="UNAVAILABLE")


class Heard:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.errors: list[MidstreamError] = []

    def accept(self, receipts: Sequence[Receipt]) -> None:
        self.seqs.extend(receipt.accepted.seq for receipt in receipts)

    def fail(self, count: int, error: MidstreamError) -> None:
        self.errors.extend([error] * count)


def put(outbox: Outbox, stream: tuple[str, str], text: str, heard: Heard | None = None, *, now_us: int = 0) -> None:
    sink = Heard() if heard is None else heard
    outbox.put(stream, Payload(json=text), f"key-{text[:8]}", None, sink, now_us=lambda: now_us)


def written(outbox: Outbox) -> list[Frame]:
    frames = []
    while (frame := outbox.next_to_write()) is not None:
        frames.append(frame)
    return frames


def texts(frames: list[Frame]) -> list[tuple[str, list[str]]]:
    return [(frame.request.stream_id, [record.payload.json for record in frame.request.records]) for frame in frames]


def receipts(*seqs: int) -> list[Receipt]:
    return [Receipt(accepted=Accepted(seq=seq)) for seq in seqs]


def test_records_of_one_stream_share_a_frame_and_streams_leave_first_come_first() -> None:
    outbox = Outbox()
    for stream, text in [(A, "1"), (B, "2"), (A, "3")]:
        put(outbox, stream, text)
    assert texts(written(outbox)) == [("a", ["1", "3"]), ("b", ["2"])]


def test_a_frame_that_is_being_written_takes_no_more() -> None:
    outbox = Outbox()
    put(outbox, A, "1")
    assert outbox.next_to_write() is not None
    put(outbox, A, "2")
    assert texts(written(outbox)) == [("a", ["2"])]


def test_frames_are_bounded_in_records() -> None:
    outbox = Outbox()
    for number in range(MAX_FRAME_RECORDS * 2 + 1):
        put(outbox, A, str(number))
    assert [frame.count for frame in written(outbox)] == [MAX_FRAME_RECORDS, MAX_FRAME_RECORDS, 1]


def test_frames_are_bounded_in_bytes_and_a_larger_record_travels_alone() -> None:
    outbox = Outbox()
    for text in ["1", "2" * (MAX_FRAME_BYTES + 1), "3", "4" * (MAX_FRAME_BYTES // 2), "5" * (MAX_FRAME_BYTES // 2)]:
        put(outbox, A, text)
    frames = written(outbox)
    assert [frame.count for frame in frames] == [1, 1, 2, 1]
    assert all(frame.request.ByteSize() <= MAX_FRAME_BYTES for frame in frames if frame is not frames[1])


def test_answers_reach_their_senders_in_order() -> None:
    outbox, one, other = Outbox(), Heard(), Heard()
    for text, heard in [("1", one), ("2", other), ("3", other), ("4", one)]:
        put(outbox, A, text, heard)
    written(outbox)
    assert outbox.record_count == 4
    assert outbox.accept(receipts(1, 2, 3, 4))
    assert (one.seqs, other.seqs) == ([1, 4], [2, 3])
    assert (outbox.record_count, outbox.size_bytes, outbox.oldest_us) == (0, 0, None)


@pytest.mark.parametrize("answer", [receipts(), receipts(1, 2)], ids=["too few", "too many"])
def test_an_answer_that_fits_no_frame_is_noticed(answer: list[Receipt]) -> None:
    outbox = Outbox()
    put(outbox, A, "1")
    assert not outbox.accept(receipts(1))  # nothing was written yet
    written(outbox)
    assert not outbox.accept(answer)


def test_after_a_break_everything_unanswered_is_written_again_with_its_keys_and_in_order() -> None:
    outbox = Outbox()
    for text in "123":
        put(outbox, A, text)
        assert outbox.next_to_write() is not None
    put(outbox, A, "4")
    assert outbox.accept(receipts(1))
    outbox.unwrite()
    put(outbox, A, "5")
    frames = written(outbox)
    assert [record for _, records in texts(frames) for record in records] == ["2", "3", "4", "5"]
    assert frames[0].request.records[0].idempotency_key == "key-2"


def test_only_what_is_too_old_is_given_up() -> None:
    outbox, old, new = Outbox(), Heard(), Heard()
    put(outbox, A, "1", old, now_us=1)
    written(outbox)
    put(outbox, A, "2", new, now_us=2)
    assert outbox.oldest_us == 1
    outbox.fail_older(1, GONE)
    assert (old.errors, new.errors) == ([GONE], [])
    assert (outbox.oldest_us, outbox.record_count) == (2, 1)


def test_giving_up_on_what_was_written_leaves_the_rest() -> None:
    outbox, first, second = Outbox(), Heard(), Heard()
    put(outbox, A, "1", first)
    written(outbox)
    put(outbox, A, "2", second)
    outbox.fail_written(GONE)
    assert (first.errors, second.errors) == ([GONE], [])
    assert texts(written(outbox)) == [("a", ["2"])]


def test_giving_up_on_everything_leaves_nothing_and_a_new_record_starts_a_new_frame() -> None:
    outbox, heard = Outbox(), Heard()
    put(outbox, A, "1", heard)
    outbox.fail_all(GONE)
    assert heard.errors == [GONE]
    assert (outbox.record_count, outbox.size_bytes) == (0, 0)
    put(outbox, A, "2", heard)
    assert texts(written(outbox)) == [("a", ["2"])]


def test_a_record_that_cannot_be_put_leaves_nothing_behind() -> None:
    outbox, heard = Outbox(), Heard()
    with pytest.raises(TypeError):
        outbox.put(A, Payload(json="1"), "key", {"a": 1}, heard, now_us=lambda: 0)  # type: ignore[dict-item]
    assert outbox.record_count == 0
    assert outbox.next_to_write() is None
    put(outbox, A, "2", heard)
    assert texts(written(outbox)) == [("a", ["2"])]
