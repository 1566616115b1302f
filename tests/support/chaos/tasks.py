"""What workers in Python execute in chaos: the task that listens until it hears "stop"."""

import asyncio
from typing import Any

from midstream import Context, input_stream, task

words = input_stream("words")
steer = input_stream("steer")


async def echo(number: int) -> int:
    return number


@task("listens-python")
async def listens(ctx: Context, payload: Any) -> dict[str, list[Any]]:
    heard: list[Any] = []
    notes: list[Any] = []
    echoes: list[Any] = []
    steer.on(notes.append)
    while (word := (await words.wait()).unwrap()) != "stop":
        heard.append(word)
        if len(heard) % 3 == 0:
            echoes.append(await ctx.step(echo, len(heard)))
        if len(heard) % 5 == 0:
            await asyncio.sleep(0.02)
    return {"heard": heard, "notes": notes, "echoes": echoes}
