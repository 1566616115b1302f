"""Page tokens belong to the request that they were made for."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream_server.domain.errors import Reason, Refused
from midstream_server.operations.page_token import read_token, write_token


@given(st.integers(0, 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_token_is_read_back(position: int, filters: str) -> None:
    assert read_token(write_token(position, filters), filters) == position


def test_no_token_is_the_first_page() -> None:
    assert read_token("", "filters") is None


GOOD = write_token(5, "filters")


@pytest.mark.parametrize(
    "token",
    ["x", "=", "é", "\0", GOOD[:-1], GOOD + "AAAA", GOOD.swapcase(), write_token(5, "others"), "A" * 100_000],
    ids=lambda token: token[:10],
)
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(Refused) as refused:
        read_token(token, "filters")
    assert (refused.value.reason, list(refused.value.fields)) == (Reason.FIELD_INVALID, ["page_token"])


def test_a_forged_position_that_no_store_can_take_is_refused() -> None:
    raw = base64.urlsafe_b64decode(GOOD + "==")
    forged = base64.urlsafe_b64encode(raw[:8] + b"\xff" * 8).decode().rstrip("=")
    with pytest.raises(Refused):
        read_token(forged, "filters")


@given(st.text())
def test_garbage_is_refused_and_never_a_fault(token: str) -> None:
    try:
        position = read_token(token, "filters")
    except Refused:
        return
    assert position is None
    assert not token
