"""The figures as a table for a person, as Markdown for the docs, and as JSON for programs."""

from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench.measure import Figure, Spread

HEADINGS = ("figure", "ours", "p99", "limit", "p99", "ratio", "of repeats", "aim", "")
TEXT_HEADINGS = ("figure", "aim", "")


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
    table = Table(title="Midstream beside its limits")
    for heading in HEADINGS:
        justify: Literal["left", "right"] = "left" if heading in TEXT_HEADINGS else "right"
        table.add_column(heading, justify=justify, no_wrap=heading != "figure")
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
        "|---|" + "---:|" * 6 + "---|---|",
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
    ratios = figure.ratio_range
    limit = "" if figure.limit is None else _number(figure.limit.p50)
    title = f"{figure.title}, {figure.unit}"
    if with_limit_title and figure.limit_title:
        title += f" (limit: {figure.limit_title})"
    return (
        title,
        _number(figure.ours.p50),
        _number(figure.ours.p99),
        limit,
        "" if figure.limit is None else _number(figure.limit.p99),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if ratios is None else f"{ratios[0]:.2f}–{ratios[1]:.2f}",
        "" if figure.aim is None else str(figure.aim),
        {True: "ok", False: "missed", None: ""}[figure.ok],
    )


def _details(figure: Figure) -> str:
    return ", ".join(f"{what} {_number(value)}" for what, value in figure.details.items())


def _spread(spread: Spread) -> dict[str, Any]:
    return {"p50": spread.p50, "p99": spread.p99, "repeats": list(spread.repeats)}


def _number(value: float | None) -> str:
    """Three significant digits; thousands grouped."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
