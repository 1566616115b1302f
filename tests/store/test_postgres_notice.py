"""Notices: what one server tells the others, in as few payloads as PostgreSQL takes."""

import pytest

from midstream_server.domain.record import Direction
from midstream_server.store import Change
from midstream_server.store.notice import Notice, Queued
from midstream_server.store.postgres.notice import decode, encode

NAME = "n" * 128


def test_nothing_to_tell() -> None:
    assert encode(Notice()) == []


@pytest.mark.parametrize("runs", [1, 3, 100, 1_000])
def test_all_of_it_arrives(runs: int) -> None:
    changes = {Change(number, None) for number in range(runs)}
    changes |= {Change(2**60 + number, NAME, direction) for number in range(runs) for direction in Direction}
    queued = [Queued(NAME, f"task{number}") for number in range(runs)]
    payloads = encode(Notice(changes, queued, list(range(runs)), [NAME] * runs))
    heard = [decode(payload) for payload in payloads]
    assert {change for notice in heard for change in notice.changes} == changes
    assert [each for notice in heard for each in notice.queued] == queued
    assert [each for notice in heard for each in notice.vacated] == list(range(runs))
    assert [each for notice in heard for each in notice.schemas] == [NAME] * runs
    assert all(len(payload) < 8_000 for payload in payloads)
    assert len(payloads) <= 1 + sum(map(len, payloads)) // 7_500


def test_what_a_newer_server_says_is_passed_over() -> None:
    assert decode("r 1\nx 2 3 4\n\ns 5 stream") == Notice([Change(1, None), Change(5, "stream")], [], [], [])
