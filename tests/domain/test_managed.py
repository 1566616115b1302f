"""Managed runs: who may speak for one, what wakes it, when it is given up, how it ends."""

from collections.abc import Mapping, Sequence

import pytest

from midstream.v1.assignment_pb2 import Assignment
from midstream.v1.entry_pb2 import Entry
from midstream_server.domain import facts
from midstream_server.domain.managed import (
    MAX_DEATHS,
    AfterDeath,
    Deaths,
    Ending,
    Tenure,
    Unapplied,
    end_state,
    fenced,
    may_suspend,
    one_more_death,
    superseded,
    timer_is_early,
)
from midstream_server.domain.run import EntryKind, State

NOW_US = 1_000


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(("epoch", "current"), [(2, 3), (3, 3), (4, 3), (0, 0), (-1, 0), (2**62, 3)])
def test_only_the_present_epoch_of_a_running_run_is_heard(state: State, epoch: int, current: int) -> None:
    assert fenced(Tenure(state, current), epoch) == (state is not State.RUNNING or epoch != current)


@pytest.mark.parametrize(
    ("applied", "begun", "expected"), [(0, 0, False), (9, 10, True), (10, 10, False), (0, 1, True)]
)
def test_an_earlier_generation_is_not_heard(applied: int, begun: int, expected: bool) -> None:
    assert superseded(applied_offset=applied, generation_offset=begun) == expected


RECORD, DROPPED = EntryKind.RECORD, EntryKind.RECORDS_DROPPED
LISTENED, OTHER = Unapplied(RECORD, "listened"), Unapplied(RECORD, "other")


@pytest.mark.parametrize(
    ("unapplied", "timers", "expected"),
    [
        ([], {}, True),
        ([OTHER], {}, True),
        ([LISTENED], {}, False),
        ([OTHER, LISTENED], {}, False),
        *([[Unapplied(kind, None)], {}, False] for kind in EntryKind if kind not in (RECORD, DROPPED)),
        ([Unapplied(DROPPED, None), OTHER], {}, True),
        ([Unapplied(DROPPED, None), LISTENED], {}, False),
        ([], {1: NOW_US + 1}, True),
        ([], {1: NOW_US}, False),
        ([], {1: NOW_US - 1}, False),
        ([], {1: NOW_US + 1, 2: NOW_US}, False),
        ([OTHER], {1: NOW_US + 1}, True),
    ],
)
def test_what_would_wake_a_run_keeps_it_warm(
    unapplied: Sequence[Unapplied], timers: Mapping[int, int], expected: bool
) -> None:
    assert may_suspend(unapplied, listening={"listened"}, timers=timers, now_us=NOW_US) == expected


@pytest.mark.parametrize(("due_us", "early"), [(NOW_US - 1, False), (NOW_US, False), (NOW_US + 1, True)])
def test_a_timer_is_early_until_it_is_due(due_us: int, early: bool) -> None:
    assert timer_is_early(due_us, NOW_US) == early


def test_deaths_in_a_row_without_a_new_entry_block_a_run() -> None:
    deaths = Deaths(0, 0)
    for count in range(1, MAX_DEATHS):
        deaths, after = one_more_death(deaths, 7)
        assert (deaths, after) == (Deaths(count, 7), AfterDeath.QUEUE_AGAIN)
    assert one_more_death(deaths, 7) == (Deaths(MAX_DEATHS, 7), AfterDeath.BLOCK)


def test_a_new_entry_begins_the_count_anew() -> None:
    assert one_more_death(Deaths(MAX_DEATHS - 1, 7), 8) == (Deaths(1, 8), AfterDeath.QUEUE_AGAIN)


@pytest.mark.parametrize(
    ("state", "asked_us", "deadline_us", "expected"),
    [
        (State.CANCELLED, None, None, State.CANCELLED),
        (State.CANCELLED, None, 5, State.CANCELLED),
        (State.CANCELLED, 4, None, State.CANCELLED),
        (State.CANCELLED, 4, 5, State.CANCELLED),
        (State.CANCELLED, 5, 5, State.EXPIRED),
        (State.CANCELLED, 6, 5, State.EXPIRED),
        (State.COMPLETED, 6, 5, State.COMPLETED),
        (State.FAILED, 6, 5, State.FAILED),
    ],
)
def test_a_run_that_was_asked_to_stop_by_its_deadline_is_expired(
    state: State, asked_us: int | None, deadline_us: int | None, expected: State
) -> None:
    assert end_state(state, asked_us=asked_us, deadline_us=deadline_us) is expected


def test_endings_are_those_of_the_contract() -> None:
    names = {value.number: value.name for value in Assignment.End.DESCRIPTOR.values if value.number}
    assert {ending.value: f"END_{ending.name}" for ending in Ending} == names


def test_facts_are_entries_without_a_place() -> None:
    assert Entry.FromString(facts.started(b"seed", "")).started.seed == b"seed"
    assert Entry.FromString(facts.cancel_requested(deadline_passed=True)).cancel_requested.deadline_passed
    fired = Entry.FromString(facts.timer_fired(7, 1_767_225_600_000_001)).timer_fired
    assert (fired.operation, fired.due_time.ToMicroseconds()) == (7, 1_767_225_600_000_001)
    for state in State:
        if state.final:
            assert Entry.FromString(facts.ended(state)).ended.state == state.value
