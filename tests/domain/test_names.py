"""What a run, a stream and a task may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.names import check_name


@pytest.mark.parametrize("name", ["a", "0", "user-message", "run_01J", "a.b", "A" * 128])
def test_legal_names(name: str) -> None:
    assert check_name("stream_id", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", ".", "_a", "a b", "a/b", "a\n", "\na", "é", "a٣", "a\0", "A" * 129, "a" * 100_000],  # ٣ is a digit too
    ids=lambda name: repr(name[:8]),
)
def test_illegal_names(name: str) -> None:
    with pytest.raises(Refused) as refused:
        check_name("stream_id", name)
    assert refused.value.reason is Reason.FIELD_INVALID
    assert list(refused.value.fields) == ["stream_id"]
    assert len(refused.value.message) < 400


@given(st.text())
def test_a_name_is_safe_wherever_it_is_written(name: str) -> None:
    try:
        check_name("run_id", name)
    except Refused:
        return
    assert name.isascii()
    assert not set(name) & set("/\\ \"'\n\0:*?")
    assert 1 <= len(name) <= 128
