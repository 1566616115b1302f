"""ULIDs sort by time and never repeat: not within a millisecond, not when the clock goes back, not after a fork."""

from collections.abc import Iterator

import pytest

from midstream import ulid


def source(times: list[int], bits: int = 0) -> ulid.UlidSource:
    ticks: Iterator[int] = iter(times)
    return ulid.UlidSource(now_ms=lambda: next(ticks), random_bits=lambda _: bits)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0" * 26),
        (31, "0" * 25 + "Z"),
        (1 << 5, "0" * 24 + "10"),
        (1469918176385 << 80, "01ARYZ6S41" + "0" * 16),
        ((1 << 128) - 1, "7" + "Z" * 25),
    ],
)
def test_encoding(number: int, text: str) -> None:
    assert ulid.encode(number) == text


def test_ids_grow_with_time_and_within_a_millisecond() -> None:
    made = source([5, 5, 5, 6])
    ids = [made.next() for _ in range(4)]
    assert ids == sorted(set(ids))
    assert ids[:2] == [ulid.encode(5 << 80), ulid.encode((5 << 80) + 1)]


def test_ids_grow_when_the_clock_goes_back() -> None:
    made = source([5, 3, 4])
    ids = [made.next() for _ in range(3)]
    assert ids == sorted(set(ids))


def test_counting_up_carries_into_the_cached_part() -> None:
    made = source([5, 5], bits=(1 << 20) - 1)
    assert [made.next(), made.next()] == [ulid.encode((5 << 80) + (1 << 20) - 1), ulid.encode((5 << 80) + (1 << 20))]


def test_many_ids_are_different() -> None:
    ids = [ulid.new() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {len(text) for text in ids} == {26}


def test_a_forked_child_does_not_count_on_where_its_parent_does() -> None:
    made_before = ulid._source
    ulid._forget_parent()  # what os.fork calls in the child; forking here would take gRPC's threads along
    assert ulid._source is not made_before
