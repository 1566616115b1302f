"""What is retried, and how long the pauses are."""

import pytest

from midstream.backoff import LONGEST_US, Backoff, is_transient
from midstream.errors import MidstreamError, Unauthenticated, Unavailable

GONE = Unavailable("connection refused", code="UNAVAILABLE")


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (GONE, True),
        (Unavailable("draining", code="UNAVAILABLE", reason="SERVER_DRAINING"), True),
        (MidstreamError("disk full", code="UNAVAILABLE", reason="STORE_UNAVAILABLE"), True),
        (MidstreamError("RST_STREAM", code="CANCELLED"), True),
        (MidstreamError("Stream removed", code="UNKNOWN"), True),
        (MidstreamError("Unexpected <class 'KeyError'>", code="UNKNOWN"), False),
        (MidstreamError("Stream removed", code="UNKNOWN", reason="INTERNAL"), False),
        (MidstreamError("Received RST_STREAM with error code 2", code="INTERNAL"), True),
        (MidstreamError("a fault", code="INTERNAL", reason="INTERNAL"), False),
        (MidstreamError("Exception deserializing response!", code="INTERNAL"), False),
        (MidstreamError("too slow", code="DEADLINE_EXCEEDED"), False),
        (MidstreamError("full", code="RESOURCE_EXHAUSTED", reason="STREAM_FULL", retry_after_us=1), False),
        (MidstreamError("slowly", code="RESOURCE_EXHAUSTED", reason="RATE_LIMITED", retry_after_us=1), True),
        (Unauthenticated("expired", code="UNAUTHENTICATED", reason="TOKEN_EXPIRED"), False),
        (Unavailable("handshake failed: CERTIFICATE_VERIFY_FAILED: self signed", code="UNAVAILABLE"), False),
        (MidstreamError("no run", code="NOT_FOUND", reason="RUN_NOT_FOUND"), False),
        (MidstreamError("no such method", code="UNIMPLEMENTED"), False),
    ],
)
def test_only_a_lost_or_leaving_server_is_tried_again(error: MidstreamError, transient: bool) -> None:
    assert is_transient(error) is transient
    assert (Backoff().delay_us(error, now_us=0) is not None) is transient


def test_the_bound_doubles_up_to_the_longest_and_starts_over_after_success() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    delays = [backoff.delay_us(GONE, now_us=0) for _ in range(9)]
    assert delays == [50_000, 100_000, 200_000, 400_000, 800_000, 1_600_000, 3_200_000, LONGEST_US, LONGEST_US]
    backoff.reset()
    assert backoff.delay_us(GONE, now_us=0) == 50_000


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert {backoff.delay_us(GONE, now_us=0) for _ in range(1_000)} >= {LONGEST_US}


def test_jitter_takes_any_part_of_the_bound() -> None:
    assert Backoff(jitter=lambda: 0.0).delay_us(GONE, now_us=0) == 0
    assert Backoff(jitter=lambda: 0.5).delay_us(GONE, now_us=0) == 25_000
    backoff = Backoff()
    delays = [backoff.delay_us(GONE, now_us=0) or 0 for _ in range(100)]
    assert max(delays) <= LONGEST_US
    assert len(set(delays)) > 50


def test_the_servers_own_delay_is_waited_for_before_the_jitter() -> None:
    draining = Unavailable("draining", code="UNAVAILABLE", retry_after_us=200_000)
    assert Backoff(jitter=lambda: 0.0).delay_us(draining, now_us=0) == 200_000
    assert Backoff(jitter=lambda: 1.0).delay_us(draining, now_us=0) == 250_000


def test_no_attempt_begins_after_the_end() -> None:
    backoff = Backoff(give_up_at_us=1_000_000, jitter=lambda: 1.0)
    assert backoff.delay_us(GONE, now_us=900_000) == 50_000
    assert backoff.delay_us(GONE, now_us=900_001) is None
