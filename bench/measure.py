"""Samples, figures, their peers, and the interleaving that makes their ratios comparable."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Aim:
    """What the ratio ours / limit should reach; or, without a limit or with a unit, the figure itself."""

    bound: float
    at_most: bool
    unit: str = ""

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g} {self.unit}".rstrip()


@dataclass(frozen=True)
class Spread:
    """One side of a figure: the median over everything, the 99th percentile of latencies, and each repeat's median."""

    p50: float
    p99: float | None
    repeats: tuple[float, ...]


@dataclass(frozen=True)
class Peer:
    """Another product that does the same; `measure` is one repeat, in milliseconds."""

    title: str
    measure: Callable[[], Awaitable[list[float]]]


@dataclass(frozen=True)
class Beside:
    """What a peer reached."""

    title: str
    spread: Spread


@dataclass(frozen=True)
class Ratio:
    """Of the medians, and the lowest and highest of single repeats."""

    value: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the report, beside its limit, and beside its peers where that was asked for."""

    name: str
    title: str
    unit: str
    ours: Spread
    limit: Spread | None = None
    limit_title: str = ""
    peers: tuple[Beside, ...] = ()
    aim: Aim | None = None
    details: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> Ratio | None:
        """Ours / limit."""
        return None if self.limit is None else _ratio(self.ours, self.limit)

    def ratio_to(self, peer: Beside) -> Ratio:
        """Ours / peer."""
        return _ratio(self.ours, peer.spread)

    @property
    def ok(self) -> bool | None:
        """Whether the aim is reached; None without an aim."""
        if self.aim is None:
            return None
        ratio = self.ratio
        return self.aim.reached(self.ours.p50 if ratio is None or self.aim.unit else ratio.value)


def _ratio(ours: Spread, other: Spread) -> Ratio:
    ratios = [one / another for one, another in zip(ours.repeats, other.repeats, strict=True)]
    return Ratio(ours.p50 / other.p50, min(ratios), max(ratios))


def latencies(repeats: Sequence[Sequence[float]]) -> Spread:
    """Folds samples in milliseconds, a sequence for each repeat."""
    everything = sorted(sample for repeat in repeats for sample in repeat)
    return Spread(
        p50=statistics.median(everything),
        p99=everything[min(len(everything) - 1, int(len(everything) * 0.99))],
        repeats=tuple(statistics.median(repeat) for repeat in repeats),
    )


def values(repeats: Sequence[float]) -> Spread:
    """Folds one number for each repeat, such as a rate."""
    return Spread(p50=statistics.median(repeats), p99=None, repeats=tuple(repeats))


async def interleave(repeats: int, *measures: Callable[[], Awaitable[T]]) -> list[list[T]]:
    """Calls the measures in turn, `repeats` times, after a first turn that only warms up; one list for each measure."""
    turns = [[await measure() for measure in measures] for _ in range(repeats + 1)][1:]
    return [[turn[index] for turn in turns] for index in range(len(measures))]


async def latencies_beside(
    repeats: int,
    limit: Callable[[], Awaitable[list[float]]],
    ours: Callable[[], Awaitable[list[float]]],
    peers: Sequence[Peer],
) -> tuple[Spread, Spread, tuple[Beside, ...]]:
    """Of the limit, of ours, and of the peers, interleaved."""
    turns = await interleave(repeats, limit, ours, *(peer.measure for peer in peers))
    limit_spread, our_spread, *spreads = map(latencies, turns)
    beside = tuple(Beside(peer.title, spread) for peer, spread in zip(peers, spreads, strict=True))
    return limit_spread, our_spread, beside
