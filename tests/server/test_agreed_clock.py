"""The time that servers agree on: the store's, as exactly as it was ever heard."""

import pytest

from midstream.clock import ManualClock
from midstream_server.agreed_clock import AgreedClock

SECOND_US = 1_000_000
STORE_AHEAD_US = 7 * SECOND_US


class Machine:
    """One with clocks of its own, and a store whose clock is ahead."""

    def __init__(self) -> None:
        self.steady = ManualClock(1_000)
        self.system = ManualClock()
        self.clock = AgreedClock(system=self.system, steady=self.steady)

    def store_us(self) -> int:
        return self.steady.now_us() + STORE_AHEAD_US

    def asks(self, *, there_us: int, back_us: int, told_wrong_us: int = 0) -> None:
        """The question takes so long to the store, the answer so long back."""
        asked_us = self.clock.steady_us()
        self.steady.advance(there_us)
        told_us = self.store_us() + told_wrong_us
        self.steady.advance(back_us)
        self.clock.agree(told_us, asked_us=asked_us, answered_us=self.clock.steady_us())

    def error_us(self) -> int:
        return self.clock.now_us() - self.store_us()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_before_the_store_has_told_its_time_the_machine_s_own_goes(machine: Machine) -> None:
    assert machine.clock.now_us() == machine.system.now_us()


def test_the_store_s_time_goes_whatever_the_machine_s_own_is(machine: Machine) -> None:
    machine.asks(there_us=100, back_us=100)
    assert machine.error_us() == 0
    machine.system.advance(3600 * SECOND_US)
    machine.steady.advance(5 * SECOND_US)
    assert machine.error_us() == 0


def test_a_quick_answer_counts_more_than_a_slow_one(machine: Machine) -> None:
    machine.asks(there_us=100, back_us=300)
    assert machine.error_us() == -100
    machine.asks(there_us=0, back_us=2 * SECOND_US)
    assert machine.error_us() == -100, "half of two seconds would be worse"
    machine.asks(there_us=50, back_us=50)
    assert machine.error_us() == 0


def test_an_old_answer_counts_less_and_less(machine: Machine) -> None:
    machine.asks(there_us=0, back_us=0)
    machine.steady.advance(10 * SECOND_US)
    machine.asks(there_us=0, back_us=2_000)
    assert machine.error_us() == -1_000


def test_what_cannot_be_true_any_more_gives_way(machine: Machine) -> None:
    """Another database has taken over, whose clock is another one."""
    machine.asks(there_us=100, back_us=100)
    machine.asks(there_us=500, back_us=500, told_wrong_us=-3 * SECOND_US)
    assert machine.error_us() == -3 * SECOND_US


async def test_a_sleeper_is_woken_by_what_is_learnt_meanwhile(machine: Machine) -> None:
    due_us = machine.system.now_us() + 10
    machine.system.advance(20)
    await machine.clock.sleep_until(due_us)
    machine.asks(there_us=0, back_us=0)
    await machine.clock.sleep_until(machine.store_us())
