"""Where results go: tables and colour for a person, plain columns for a pipe, JSON lines for a program."""

import sys
from collections.abc import Collection, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from midstream.cli.shapes import dumps

STATE_STYLES = {
    "QUEUED": "yellow",
    "RUNNING": "green",
    "SUSPENDED": "cyan",
    "BLOCKED": "bold red",
    "COMPLETED": "bold green",
    "FAILED": "bold red",
    "CANCELLED": "magenta",
    "EXPIRED": "magenta",
}


def json_line(shape: object) -> None:
    """Prints one JSON object on a line of its own, at once."""
    click.echo(dumps(shape))


def line(*parts: str | Text) -> None:
    """Prints one line, which only the terminal wraps; in colour on a terminal, unless NO_COLOR is set."""
    _console().print(Text.assemble(*parts), soft_wrap=True)


def paragraph(text: str) -> None:
    """Prints text in full, on a terminal wrapped between words."""
    _console().print(Text(text), soft_wrap=not sys.stdout.isatty())


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, right: Collection[str] = ()) -> None:
    """Prints rows under headings; columns in `right` are aligned there."""
    if not sys.stdout.isatty():
        _plain_table(columns, rows)
        return
    drawn = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        drawn.add_column(column.upper(), justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    # Rather a long line than half of an id: what is cut cannot be copied.
    console = _console()
    console.print(drawn, soft_wrap=True, width=max(console.width, console.measure(drawn).maximum))


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    cells = [[column.upper() for column in columns], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def state(name: str) -> Text:
    """A run's state in its colour."""
    return Text(name, style=STATE_STYLES.get(name, ""))


def styled(text: str, style: str) -> Text:
    """Text in a style of rich's; as it is for an empty one."""
    return Text(text, style=style)


def dim(text: str) -> Text:
    """What matters less."""
    return Text(text, style="dim")


def bold(text: str) -> Text:
    """A heading."""
    return Text(text, style="bold")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would exit at once; we have one place for that."""
        raise BrokenPipeError


def _console() -> Console:
    # Made anew each time, since stdout may have been replaced. Highlighting would colour parts of the user's data.
    return _Console(highlight=False, markup=False, emoji=False)
