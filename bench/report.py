"""The figures as a table for a person, as Markdown for the docs, and as JSON for programs."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.measure import Figure, Spread

HEADINGS = ("figure", "ours", "limit", "ratio", "aim")


def to_json(figure: Figure) -> dict[str, Any]:
    """One figure; every number in the figure's unit, ratios without one."""
    ratios = figure.ratio_range
    return {
        "name": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "ours": _spread(figure.ours),
        "limit": None if figure.limit is None else {"title": figure.limit_title, **_spread(figure.limit)},
        "ratio": figure.ratio,
        "ratio_low": None if ratios is None else ratios[0],
        "ratio_high": None if ratios is None else ratios[1],
        "aim": None if figure.aim is None else str(figure.aim),
        "ok": figure.ok,
        "details": figure.details,
    }


def print_table(figures: Sequence[Figure]) -> None:
    """Prints the table to the terminal, details beneath."""
    console = Console()
    table = Table(title="p50 / p99; ratio of the p50s, lowest–highest of the repeats", box=SIMPLE_HEAD)
    table.add_column(HEADINGS[0], ratio=1)
    for heading in HEADINGS[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(*_cells(figure))
    console.print(table)
    for figure in figures:
        if figure.details:
            console.print(f"{figure.name}: {_details(figure)}", highlight=False, soft_wrap=True)


def to_markdown(figures: Sequence[Figure], machine: dict[str, Any], versions: dict[str, str]) -> str:
    """The same table for `docs/benchmarks.md`, with what it was measured on."""
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        "|---|" + "---:|" * (len(HEADINGS) - 1),
        *(f"| {' | '.join(_cells(figure, with_limit_title=True))} |" for figure in figures),
        "",
        "Also seen:",
        "",
        *(f"- `{figure.name}`: {_details(figure)}" for figure in figures if figure.details),
        "",
        "Measured on: " + ", ".join(f"{key} {value}" for key, value in {**machine, **versions}.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def _cells(figure: Figure, *, with_limit_title: bool = False) -> tuple[str, ...]:
    title = f"{figure.title}, {figure.unit}"
    if with_limit_title and figure.limit_title:
        title += f" (limit: {figure.limit_title})"
    return title, _side(figure.ours), _side(figure.limit), _ratio(figure), _aim(figure)


def _side(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return _number(spread.p50) if spread.p99 is None else f"{_number(spread.p50)} / {_number(spread.p99)}"


def _ratio(figure: Figure) -> str:
    if figure.ratio is None or figure.ratio_range is None:
        return ""
    low, high = figure.ratio_range
    return f"{figure.ratio:.2f}, {low:.2f}–{high:.2f}"


def _aim(figure: Figure) -> str:
    return "" if figure.aim is None else f"{figure.aim} {'reached' if figure.ok else 'missed'}"


def _details(figure: Figure) -> str:
    return ", ".join(f"{what} {_number(value)}" for what, value in figure.details.items())


def _spread(spread: Spread) -> dict[str, Any]:
    return {"p50": spread.p50, "p99": spread.p99, "repeats": list(spread.repeats)}


def _number(value: float) -> str:
    """Three significant digits; thousands grouped."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
