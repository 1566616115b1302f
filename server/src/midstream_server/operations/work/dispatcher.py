"""Which worker gets a run: one that has its task, code that has not refused it, and credit."""

from collections.abc import Collection, Mapping
from typing import Protocol

from midstream_server.store.managed import Claimed, Seat


class Taker(Protocol):
    """A worker that is connected."""

    worker_no: int
    namespace: str
    tasks: dict[str, str]
    runtime: str
    credit: int

    def prepare(self, claimed: Claimed, *, through_offset: int) -> None: ...

    def withdraw(self, claimed: Claimed) -> None: ...

    def assign(self, claimed: Claimed) -> None: ...

    def dismiss(self) -> None:
        """The lease is over: no more runs."""
        ...


class Dispatcher:
    """The seats of all workers connected to this process. Implements `Seats`; see there."""

    def __init__(self) -> None:
        self._takers: dict[int, Taker] = {}

    def join(self, taker: Taker) -> None:
        self._takers[taker.worker_no] = taker

    def leave(self, taker: Taker) -> None:
        if self._takers.get(taker.worker_no) is taker:
            del self._takers[taker.worker_no]

    def take(self, namespace: str, task: str, refused_versions: Collection[str]) -> Seat | None:
        for taker in self._takers.values():
            version = taker.tasks.get(task)
            if taker.credit > 0 and taker.namespace == namespace and version is not None:
                if version in refused_versions:
                    continue
                taker.credit -= 1
                self._move_to_the_end(taker)
                return Seat(taker.worker_no, version, taker.runtime)
        return None

    def _move_to_the_end(self, taker: Taker) -> None:
        """So that workers take turns."""
        self._takers[taker.worker_no] = self._takers.pop(taker.worker_no)

    def give_back(self, seat: Seat) -> None:
        taker = self._takers.get(seat.worker_no)
        if taker is not None:
            taker.credit += 1

    def prepare(self, seat: Seat, claimed: Claimed, *, through_offset: int) -> None:
        taker = self._takers.get(seat.worker_no)
        if taker is not None:
            taker.prepare(claimed, through_offset=through_offset)

    def withdraw(self, seat: Seat, claimed: Claimed) -> None:
        taker = self._takers.get(seat.worker_no)
        if taker is not None:
            taker.withdraw(claimed)

    def fill(self, seat: Seat, claimed: Claimed) -> None:
        # A worker that has gone meanwhile has the run all the same: it loses it with its lease, or when it comes back.
        taker = self._takers.get(seat.worker_no)
        if taker is not None:
            taker.assign(claimed)

    def vacate(self, worker_no: int) -> None:
        taker = self._takers.pop(worker_no, None)
        if taker is not None:
            taker.dismiss()

    def wants(self, namespace: str, task: str) -> bool:
        """Whether a worker has room for a run of the task."""
        return any(
            taker.credit > 0 and taker.namespace == namespace and task in taker.tasks for taker in self._takers.values()
        )

    def openings(self) -> Mapping[tuple[str, frozenset[tuple[str, str]]], int]:
        """How many runs are wanted, by namespace and the tasks and code versions of those who want them."""
        wanted: dict[tuple[str, frozenset[tuple[str, str]]], int] = {}
        for taker in self._takers.values():
            if taker.credit > 0:
                key = (taker.namespace, frozenset(taker.tasks.items()))
                wanted[key] = wanted.get(key, 0) + taker.credit
        return wanted

    def other_code(self, namespace: str, task: str, refused_versions: Collection[str]) -> bool:
        return any(
            taker.namespace == namespace and task in taker.tasks and taker.tasks[task] not in refused_versions
            for taker in self._takers.values()
        )
