"""The figures as a table for a person, as Markdown for the docs, and as JSON for programs."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.measure import Figure, Ratio, Spread

HEADINGS = ("figure", "ours", "limit", "ratio", "aim")
PEER_HEADINGS = ("figure", "ours", "peer", "ours / peer")
"""Of a table of their own, where figures have peers."""


def to_json(figure: Figure) -> dict[str, Any]:
    """One figure; every number in the figure's unit, ratios without one."""
    return {
        "name": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "ours": _spread(figure.ours),
        "limit": None if figure.limit is None else {"title": figure.limit_title, **_spread(figure.limit)},
        **_ratio_to_json(figure.ratio),
        "peers": [
            {"title": peer.title, **_spread(peer.spread), **_ratio_to_json(figure.ratio_to(peer))}
            for peer in figure.peers
        ],
        "aim": None if figure.aim is None else str(figure.aim),
        "ok": figure.ok,
        "details": figure.details,
    }


def print_table(figures: Sequence[Figure]) -> None:
    """Prints the table to the terminal, that of the peers and details beneath."""
    console = Console()
    console.print(_table("p50 / p99; ratio of the p50s, lowest–highest of the repeats", HEADINGS, map(_cells, figures)))
    if beside := _peer_rows(figures):
        console.print(_table("Beside their peers", PEER_HEADINGS, beside))
    for figure in figures:
        if figure.details:
            console.print(f"{figure.name}: {_details(figure)}", highlight=False, soft_wrap=True)


def to_markdown(figures: Sequence[Figure], machine: dict[str, Any], versions: dict[str, str]) -> str:
    """The same tables for `docs/benchmarks.md`, with what it was measured on."""
    lines = _markdown(HEADINGS, (_cells(figure, with_limit_title=True) for figure in figures))
    if beside := _peer_rows(figures):
        lines += ["", "Beside their peers:", "", *_markdown(PEER_HEADINGS, beside)]
    lines += [
        "",
        "Also seen:",
        "",
        *(f"- `{figure.name}`: {_details(figure)}" for figure in figures if figure.details),
        "",
        "Measured on: " + ", ".join(f"{key} {value}" for key, value in {**machine, **versions}.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column(headings[0], ratio=1)
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return [f"| {' | '.join(row)} |" for row in table]


def _cells(figure: Figure, *, with_limit_title: bool = False) -> tuple[str, ...]:
    title = f"{figure.title}, {figure.unit}"
    if with_limit_title and figure.limit_title:
        title += f" (limit: {figure.limit_title})"
    return title, _side(figure.ours), _side(figure.limit), _ratio(figure.ratio), _aim(figure)


def _peer_rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    return [
        (
            f"{figure.title}, {figure.unit} (peer: {peer.title})",
            _side(figure.ours),
            _side(peer.spread),
            _ratio(figure.ratio_to(peer)),
        )
        for figure in figures
        for peer in figure.peers
    ]


def _side(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return _number(spread.p50) if spread.p99 is None else f"{_number(spread.p50)} / {_number(spread.p99)}"


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.value:.2f}, {ratio.lowest:.2f}–{ratio.highest:.2f}"


def _ratio_to_json(ratio: Ratio | None) -> dict[str, float | None]:
    if ratio is None:
        return {"ratio": None, "ratio_low": None, "ratio_high": None}
    return {"ratio": ratio.value, "ratio_low": ratio.lowest, "ratio_high": ratio.highest}


def _aim(figure: Figure) -> str:
    return "" if figure.aim is None else f"{figure.aim} {'reached' if figure.ok else 'missed'}"


def _details(figure: Figure) -> str:
    return ", ".join(f"{what} {_number(value)}" for what, value in figure.details.items())


def _spread(spread: Spread) -> dict[str, Any]:
    return {"p50": spread.p50, "p99": spread.p99, "repeats": list(spread.repeats)}


def _number(value: float) -> str:
    """Three significant digits; thousands grouped."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
