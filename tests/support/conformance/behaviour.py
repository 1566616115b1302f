"""Behaviour as data, played through the Python client: see tests/conformance/README.md, *Behaviour*."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import midstream
from midstream import AttachedRun, Client, Run, durations
from support.conformance.match import differences
from support.conformance.outcome import outcome_differences, seen_of
from support.conformance.outside import Outside
from support.conformance.play import Mismatch
from support.conformance.script import play_script, stream
from support.conformance.servers import STORES, PlayedServer
from support.conformance.vector import DIRECTORY, load_yaml, resolve

Json = dict[str, Any]
PLACES: Final = ("attached", "warm", "suspending")
_KEYS: Final = {"name", "why", "in", "server", "store", "for_each", "records", "run", "outside", "ends"}


@dataclass(frozen=True)
class Behaviour:
    """One case in one place: `attached`, in a task that stays `warm`, or in one that is suspended at every chance."""

    name: str
    why: str
    place: str
    server: str
    stores: Sequence[str]
    """On which it is played: one is enough for what the client alone decides."""
    records: list[tuple[str, Any]]
    run: list[Json]
    outside: list[Json]
    ends: Json


def load_behaviours() -> list[Behaviour]:
    return [
        behaviour
        for path in sorted((DIRECTORY / "behaviour").glob("*.yaml"))
        for raw in load_yaml(path)
        for behaviour in _expanded(raw, path.stem)
    ]


def _expanded(raw: Json, file: str) -> Iterator[Behaviour]:
    unknown = raw.keys() - _KEYS
    if unknown or not set(raw.get("in", PLACES)) <= set(PLACES):
        raise ValueError(f"{file}: {raw['name']}: unknown keys {sorted(unknown)}, or an unknown place")
    for variables in raw.get("for_each", [{}]):
        case = f"/{variables['case']}" if "case" in variables else ""
        run = resolve(raw["run"], variables)
        for place in raw.get("in", PLACES[:2]):
            yield Behaviour(
                f"{file}/{raw['name']}{case}/{place}",
                raw["why"],
                place,
                raw.get("server", "open"),
                STORES[:1] if raw.get("store") == "any" else STORES,
                [(name, value) for name, value in resolve(raw.get("records", []), variables)],
                run,
                resolve(raw.get("outside", []), variables),
                {"state": "COMPLETED", **resolve(raw.get("ends", {}), variables)},
            )


async def play_behaviour(behaviour: Behaviour, server: PlayedServer) -> None:
    """Raises Mismatch with each difference."""
    async with midstream.connect(server.process.url, api_key=server.keys.get("apiKey")) as client:
        run_id = await _begin(behaviour, client)
        outside = Outside(client, server, run_id)
        inside = _attached(behaviour, client, run_id) if behaviour.place == "attached" else _watched(client, run_id)
        async with asyncio.TaskGroup() as playing:
            ended = playing.create_task(inside)
            playing.create_task(outside.play(behaviour.outside))
        played = ended.result()
        lines = [*outside.differences, *_differences(behaviour, await client.get_run(run_id), played)]
        if lines:
            raise Mismatch("\n".join([f"{behaviour.name} ({behaviour.why})", *lines]))


async def _begin(behaviour: Behaviour, client: Client) -> str:
    """A run with its first records. A managed one begins at once."""
    if behaviour.place != "attached":
        payload = {"operations": behaviour.run}
        run = await client.start_run(f"conformance-{behaviour.place}", payload, records=behaviour.records)
        return run.id
    async with client.attach(task="conformance-attached") as attached:
        attached.detach()
    for name, values in groupby(behaviour.records, key=lambda record: record[0]):
        stream(name)
        assert all(result.ok for result in await client.send_many(attached.id, name, [value for _, value in values]))
    return attached.id


async def _attached(behaviour: Behaviour, client: Client, run_id: str) -> list[Json] | None:
    """None where the script was cut short."""
    try:
        async with client.attach(run_id) as run:
            played = [await play_script(behaviour.run, _InAttachedRun(client, run))]
            run.finish("played")
            return played
    except midstream.MidstreamError as error:
        if error.reason or error.code != "CANCELLED":
            raise
        return None


async def _watched(client: Client, run_id: str) -> list[Json] | None:
    async for run in client.watch_run(run_id):
        if run.state.is_final:
            return run.result if isinstance(run.result, list) else None
    raise AssertionError("the run ended without a final state")


def _differences(behaviour: Behaviour, run: Run, played: list[Json] | None) -> list[str]:
    """Between what came of the run and what was to come of it."""
    seen = seen_of(run)
    if seen["state"] == "FAILED" and behaviour.ends["state"] != "FAILED":
        return [f"the run failed: {run.failure}"]
    lines = differences(behaviour.ends, seen, "run")
    if played is None:
        return lines if behaviour.ends["state"] != "COMPLETED" else [*lines, "the script was cut short"]
    generations: list[list[Json]] = [[]]
    for operation in behaviour.run:
        if "restart" in operation:
            generations.append([])
        else:
            generations[-1].append(operation)
    if len(generations) != len(played):
        return [*lines, f"{len(played)} generations, expected {len(generations)}"]
    for number, (operations, one) in enumerate(zip(generations, played, strict=True)):
        for index, (operation, outcome) in enumerate(zip(operations, one["outcomes"], strict=True)):
            lines += outcome_differences(
                operation, outcome, f"run[{index}]" if number == 0 else f"{number}.run[{index}]"
            )
        # What a handler hears after its last `heard` counts, too.
        for operation in _flat(operations):
            if "heard" in operation and operation.get("in_all", True):
                lines += differences(
                    operation["gives"], one["heard"][operation["heard"]], f"all of {operation['heard']}"
                )
    return lines


def _flat(operations: list[Json]) -> Iterator[Json]:
    """The operations with those inside them."""
    for operation in operations:
        yield operation
        for kind in ("sequence", "together"):
            yield from _flat(operation.get(kind, []))


class _InAttachedRun:
    patient = True

    def __init__(self, client: Client, run: AttachedRun) -> None:
        self._client = client
        self._run = run

    async def send(self, stream: str, value: Any, key: str | None) -> Json:
        receipt = await self._client.send(self._run.id, stream, value, key=key)
        return {"seq": receipt.seq, "deduplicated": receipt.deduplicated}

    async def output(self, stream: str, value: Any) -> None:
        await self._run.output(stream).append(value)

    async def sleep(self, duration: str) -> None:
        await asyncio.sleep(durations.parse(duration) / 1_000_000)

    async def step(self, value: Any) -> Any:
        raise RuntimeError("an attached run has no steps")
