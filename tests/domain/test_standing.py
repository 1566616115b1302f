"""A credential's rate, its subscriptions and its end."""

import pytest

from midstream_server.domain.bucket import Bucket
from midstream_server.domain.credential_errors import credentials_missing
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.standing import Standing, ended

SECOND_US = 1_000_000


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    bucket = Bucket(10, 5, now_us=0)
    assert [bucket.take(1, now_us=0) for _ in range(5)] == [0] * 5
    wait_us = bucket.take(1, now_us=0)
    assert 100_000 <= wait_us <= 100_001
    assert bucket.take(1, now_us=wait_us - 2) > 0
    assert bucket.take(1, now_us=wait_us) == 0


def test_a_bucket_holds_no_more_than_its_burst_however_long_one_waits() -> None:
    bucket = Bucket(10, 5, now_us=0)
    assert [bucket.take(1, now_us=3_600 * SECOND_US) == 0 for _ in range(6)] == [True] * 5 + [False]


def test_a_large_batch_passes_and_is_paid_for_afterwards() -> None:
    bucket = Bucket(10, 5, now_us=0)
    assert bucket.take(1_000, now_us=0) == 0
    assert 99_500_000 <= bucket.take(1, now_us=0) <= 99_700_000
    assert bucket.take(1, now_us=99_700_000) == 0


def test_work_that_was_done_is_paid_for_afterwards() -> None:
    bucket = Bucket(10, 5, now_us=0)
    standing = Standing(bucket=bucket)
    standing.owe(105)
    with pytest.raises(Refused, match="RATE_LIMITED"):
        standing.take(1, now_us=0)
    standing.take(1, now_us=11 * SECOND_US)
    Standing().owe(105)


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    bucket = Bucket(10, 1, now_us=SECOND_US)
    assert bucket.take(1, now_us=SECOND_US) == 0
    assert bucket.take(1, now_us=0) > 0
    assert bucket.take(1, now_us=100_001) == 0


def test_the_refusal_says_when_to_come_again() -> None:
    standing = Standing(bucket=Bucket(50, 1, now_us=0))
    standing.take(1, now_us=0)
    with pytest.raises(Refused) as caught:
        standing.take(1, now_us=0)
    assert caught.value.reason is Reason.RATE_LIMITED
    assert caught.value.metadata == {"records_per_second": "50"}
    assert caught.value.retry_after_us is not None
    standing.take(1, now_us=caught.value.retry_after_us)


def test_subscriptions_are_counted_while_they_last() -> None:
    standing = Standing(max_subscriptions=1)
    with standing.subscribed(), pytest.raises(Refused, match="TOO_MANY_SUBSCRIPTIONS"), standing.subscribed():
        raise AssertionError("one too many")
    with standing.subscribed():
        assert standing.subscriptions == 1
    assert standing.subscriptions == 0


def test_whoever_watches_hears_of_the_end_once() -> None:
    standing = Standing()
    heard: list[Refused] = []
    left: list[Refused] = []
    standing.watch(heard.append)
    standing.watch(left.append)
    standing.unwatch(left.append)
    standing.end(credentials_missing())
    standing.end(credentials_missing())
    assert [refusal.reason for refusal in heard] == [Reason.CREDENTIALS_MISSING]
    assert left == []


def test_nobody_comes_in_after_the_end() -> None:
    standing = ended(credentials_missing())
    with pytest.raises(Refused) as first:
        standing.watch(lambda refusal: None)
    with pytest.raises(Refused) as second:
        standing.check()
    assert first.value is not second.value, "one exception raised for ever would gather tracebacks"
    assert not standing.in_use
