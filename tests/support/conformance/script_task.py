"""The task that plays the script in its payload. A worker's module: it must be importable without gRPC."""

import asyncio
from typing import Any

from midstream import Context, durations, task
from support.conformance.script import Json, play_script


class InTask:
    patient = False

    def __init__(self, context: Context) -> None:
        self._context = context

    async def send(self, stream: str, value: Any, key: str | None) -> Json:
        receipt = await self._context.send(self._context.run_id, stream, value, key=key)
        return {"seq": receipt.seq, "deduplicated": receipt.deduplicated}

    async def output(self, stream: str, value: Any) -> None:
        self._context.output(stream).append(value)

    async def sleep(self, duration: str) -> None:
        await asyncio.sleep(durations.parse(duration) / 1_000_000)

    async def step(self, value: Any) -> Any:
        async def returns() -> Any:
            if isinstance(value, dict) and "throws" in value:
                raise ValueError(value["throws"])
            return value

        return await self._context.step(returns)


async def play(context: Context, payload: Json) -> list[Json]:
    """What came of the operations, generation by generation: one `restart` ends each but the last."""
    played: list[Json] = payload.get("played", [])
    operations: list[Json] = payload["operations"]
    for index, operation in enumerate(operations):
        if "restart" in operation:
            played.append(await play_script(operations[:index], InTask(context)))
            context.restart_with({"operations": operations[index + 1 :], "played": played})
    return [*played, await play_script(operations, InTask(context))]


warm = task("conformance-warm")(play)
suspending = task("conformance-suspending", idle_timeout="0s")(play)
