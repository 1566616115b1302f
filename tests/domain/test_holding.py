"""Who may consume a stream, and how far its cursor may move."""

import pytest

from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.holding import check_holder, moved_cursor, next_epoch


@pytest.mark.parametrize(("claimed", "current", "epoch"), [(0, 0, 1), (0, 4, 5), (4, 4, 4)])
def test_a_claim_gets_the_newest_epoch_or_keeps_it(claimed: int, current: int, epoch: int) -> None:
    assert next_epoch("s", claimed=claimed, current=current) == epoch


@pytest.mark.parametrize(("claimed", "current"), [(1, 0), (3, 4), (5, 4), (-1, 4)])
def test_any_other_epoch_is_fenced(claimed: int, current: int) -> None:
    for check in (next_epoch, check_holder):
        with pytest.raises(Refused) as refused:
            check("s", claimed=claimed, current=current)
        assert refused.value.reason is Reason.FENCED
        assert refused.value.metadata == {
            "stream_id": "s",
            "holder_epoch": str(claimed),
            "current_epoch": str(current),
        }


@pytest.mark.parametrize("current", [0, 1])
def test_0_is_nobodys_epoch(current: int) -> None:
    with pytest.raises(Refused) as refused:
        check_holder("s", claimed=0, current=current)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_the_holder_passes() -> None:
    check_holder("s", claimed=2, current=2)


@pytest.mark.parametrize(
    ("cursor", "through", "delivered", "moved"),
    [(0, 0, 0, 0), (0, 1, 1, 1), (4, 9, 9, 9), (4, 4, 9, 4), (4, 3, 9, 4), (4, 0, 4, 4)],
)
def test_the_cursor_moves_forward_only(cursor: int, through: int, delivered: int, moved: int) -> None:
    assert moved_cursor(cursor=cursor, through_seq=through, delivered_seq=delivered) == moved


@pytest.mark.parametrize(("through", "delivered"), [(1, 0), (10, 9), (2**62, 9)])
def test_what_was_not_delivered_cannot_be_acknowledged(through: int, delivered: int) -> None:
    with pytest.raises(Refused) as refused:
        moved_cursor(cursor=0, through_seq=through, delivered_seq=delivered)
    assert refused.value.reason is Reason.ACK_AHEAD
    assert refused.value.metadata == {"through_seq": str(through), "delivered_seq": str(delivered)}
