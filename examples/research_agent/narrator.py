"""Tells what happens on the stage."""

import asyncio

from rich.console import Console
from rich.text import Text

READING_SPEED = 110  # characters a second


class Narrator:
    """Prints, and leaves time to read: `pace` 1 for most people, 0 where nobody watches."""

    def __init__(self, pace: float) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._pace = pace
        self._scene = 0

    async def title(self, title: str, text: str) -> None:
        self._print(Text(title, style="bold"))
        await self.tell(text)

    async def scene(self, title: str, text: str) -> None:
        """A numbered heading, and why it matters."""
        self._scene += 1
        self._print(Text(f"\n{self._scene}. {title}", style="bold"))
        await self.tell(text)

    async def tell(self, text: str) -> None:
        """A sentence or two, and the time to read them. Nothing else waits for that."""
        self._print(Text("\n".join(f"   {line}" for line in text.splitlines()), style="italic"))
        await asyncio.sleep(self._pace * len(text) / READING_SPEED)

    def line(self, actor: str, style: str, text: str) -> None:
        """What an actor says or does."""
        self._print(Text.assemble((f"{actor:>9} │ ", style), text))

    def command(self, command: str, remark: str = "") -> None:
        """Something to type."""
        self._print(Text.assemble(("   $ ", "dim"), (command, "bold"), (f"   # {remark}" if remark else "", "dim")))

    def show(self, text: str) -> None:
        """A line as it is."""
        self._print(Text(f"   {text}"))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)
