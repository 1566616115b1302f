"""Which output records are new, and how marks are made."""

import pytest

from midstream_server.domain.output import MAX_RANGES, OUTSIDE, OutputDraft, Standing, Turn, Writer, marks, standing
from midstream_server.domain.record import Draft

KNOWN = Writer(Turn(epoch=3, attempt=2), places=5)


@pytest.mark.parametrize(
    ("turn", "place", "expected"),
    [
        (Turn(3, 2), 4, Standing.AGAIN),
        (Turn(3, 2), 5, Standing.NEW),
        (Turn(3, 2), 9, Standing.NEW),
        (Turn(3, 1), 5, Standing.AGAIN),
        (Turn(2, 9), 5, Standing.AGAIN),
        (Turn(3, 3), 0, Standing.SUPERSEDES),
        (Turn(4, 1), 0, Standing.SUPERSEDES),
    ],
)
def test_what_a_writer_says_stands_to_what_is_stored(turn: Turn, place: int, expected: Standing) -> None:
    assert standing(KNOWN, turn, place) is expected
    assert standing(None, turn, place) is Standing.NEW


def test_what_is_outside_of_steps_is_one_writer_of_all_epochs() -> None:
    draft = OutputDraft("s", Draft(None, b"", b"", 0), operation=7, attempt=0, place=3)
    assert (draft.writer, draft.turn(5), draft.place_of_writer) == (OUTSIDE, Turn(0, 0), 7)
    within = draft._replace(attempt=2)
    assert (within.writer, within.turn(5), within.place_of_writer) == (7, Turn(5, 2), 3)


def test_marks_are_ascending_and_bounded() -> None:
    assert marks([]) == []
    assert marks([(5, 6), (1, 2)]) == [[(1, 2), (5, 6)]]
    many = [(number, number) for number in range(2 * MAX_RANGES + 1)]
    assert [len(mark) for mark in marks(many)] == [MAX_RANGES, MAX_RANGES, 1]
