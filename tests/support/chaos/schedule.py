"""The plan of a chaos run: faults as data, made from a seed. The same seed makes the same plan."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

FAULTS: Final[Mapping[str, tuple[float, float]]] = {
    "kill": (0.0, 0.3),
    "drain": (0.0, 0.3),
    "pause": (0.2, 3.0),
    "kill_child": (0.0, 0.0),
    "kill_thread": (0.0, 0.0),
    "delay": (0.5, 3.0),
    "stall": (0.5, 3.5),
    "cut": (0.1, 1.5),
    "half_open": (0.5, 3.0),
    "lose_requests": (0.5, 3.0),
    "lose_answers": (0.5, 3.0),
    "crash_database": (0.0, 1.0),
    "restart_database": (0.0, 1.0),
    "pause_database": (0.2, 2.0),
    "pause_standby": (0.2, 2.0),
    "kill_backend": (0.0, 0.0),
    "fail_over": (0.0, 0.5),
    "fail_over_silently": (0.0, 0.5),
}
"""Every kind of fault, and how many seconds it lasts, at least and at most."""

MAX_ANSWERS = 40


@dataclass(frozen=True, slots=True)
class Fault:
    """After so many more answers `kind` befalls `target`, for so long. `beside`: the next does not wait for that."""

    after_answers: int
    kind: str
    target: str
    seconds: float
    beside: bool = False

    def __str__(self) -> str:
        during = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{self.kind} {self.target}{during}{' (goes on)' if self.beside else ''}"


def plan(seed: str, targets: Mapping[str, Sequence[str]], faults: int, *, pace: float = 1.0) -> tuple[Fault, ...]:
    """So many faults, of the kinds in `targets`, which names what each can befall; kinds come equally often.

    `pace` 2 makes all of them half as long, and the time between them.
    """
    randomness = random.Random(f"plan {seed}")
    kinds: list[str] = []
    while len(kinds) < faults:
        kinds += randomness.sample(sorted(targets), len(targets))
    return tuple(_fault(randomness, kind, targets[kind], pace) for kind in kinds[:faults])


def _fault(randomness: random.Random, kind: str, targets: Sequence[str], pace: float) -> Fault:
    shortest, longest = FAULTS[kind]
    seconds = round(randomness.uniform(shortest, longest) / pace, 2)
    return Fault(
        after_answers=round(randomness.randint(5, MAX_ANSWERS) / pace),
        kind=kind,
        target=randomness.choice(targets),
        seconds=seconds,
        beside=randomness.random() < 0.4 and seconds > 0,
    )
