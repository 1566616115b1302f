"""The states of a run: what each takes, and what a due timer makes of it."""

import pytest

from midstream.v1 import run_pb2
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.run import (
    Kind,
    State,
    StreamStatus,
    TimerKind,
    check_consumable,
    check_takes_records,
    state_when_due,
)

FINAL = {State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED}


@pytest.mark.parametrize("kind", list(Kind))
def test_the_numbers_of_kinds_are_the_contracts(kind: Kind) -> None:
    assert run_pb2.Run.Kind.Value(f"KIND_{kind.name}") == kind.value


def test_the_numbers_of_states_are_the_contracts() -> None:
    contract = {number: name for name, number in run_pb2.Run.State.items() if number}
    assert contract == {state.value: f"STATE_{state.name}" for state in State}


@pytest.mark.parametrize("state", list(State))
def test_an_ended_run_takes_no_records(state: State) -> None:
    assert state.final == (state in FINAL)
    refusal = check_takes_records("run", state)
    assert (refusal is not None) == state.final
    if refusal is not None:
        assert refusal.reason is Reason.RUN_FINISHED
        assert refusal.metadata == {"run_id": "run", "state": state.name}


@pytest.mark.parametrize("state", list(State))
def test_a_managed_run_is_consumed_by_its_worker_alone(state: State) -> None:
    with pytest.raises(Refused) as refused:
        check_consumable("run", Kind.MANAGED, state)
    assert refused.value.reason is Reason.RUN_MANAGED


@pytest.mark.parametrize("state", list(State))
def test_an_attached_run_is_consumed_until_it_ends(state: State) -> None:
    if not state.final:
        check_consumable("run", Kind.ATTACHED, state)
        return
    with pytest.raises(Refused) as refused:
        check_consumable("run", Kind.ATTACHED, state)
    assert refused.value.reason is Reason.RUN_FINISHED


@pytest.mark.parametrize(
    ("timer", "state", "becomes"),
    [
        (TimerKind.DEADLINE, State.QUEUED, State.EXPIRED),
        (TimerKind.DEADLINE, State.SUSPENDED, State.EXPIRED),
        (TimerKind.DEADLINE, State.COMPLETED, None),
        (TimerKind.UNHELD, State.RUNNING, State.EXPIRED),
        (TimerKind.UNHELD, State.CANCELLED, None),
        (TimerKind.CANCEL_GRACE, State.RUNNING, State.CANCELLED),
        (TimerKind.CANCEL_GRACE, State.BLOCKED, State.CANCELLED),
        (TimerKind.CANCEL_GRACE, State.EXPIRED, None),
        (TimerKind.RETENTION, State.COMPLETED, None),
        (TimerKind.RETENTION, State.RUNNING, None),
    ],
)
def test_a_due_timer_ends_a_run_that_has_not_ended(timer: TimerKind, state: State, becomes: State | None) -> None:
    assert state_when_due(timer, state) is becomes


def test_unread_is_a_subtraction() -> None:
    assert StreamStatus("s", last_seq=9, cursor=4, unread_bytes=0).unread == 5
