"""One chaos run of managed runs: a cluster, workers and senders of both languages, planned faults, and the verdict."""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import midstream
from support.chaos.checker import check
from support.chaos.cluster import Cluster
from support.chaos.faults import Attack, targets
from support.chaos.final_read import read_final
from support.chaos.fleet import Fleet
from support.chaos.ghosts import Ghost, start_haunted
from support.chaos.history import FinalRead, History
from support.chaos.mixed_load import MixedLoad, PythonSending, Sending
from support.chaos.scenario import HISTORY_FILE, Verdict, to_the_end
from support.chaos.schedule import Fault, plan
from support.chaos.typescript_sending import TypeScriptSending
from support.chaos.wire import Surprised

MakePlan = Callable[[Mapping[str, Sequence[str]]], Sequence[Fault]]
"""Makes a plan of what each kind of fault can befall."""

PLAN_FILE = "plan.json"
PATIENCE_SECONDS = 20.0


def no_faults(targets: Mapping[str, Sequence[str]]) -> Sequence[Fault]:
    return ()


def planned(seed: str, faults: int, *, pace: float = 1.0, without: Collection[str] = ()) -> MakePlan:
    """So many faults of all kinds that there are, but for those `without`."""
    return lambda targets: plan(
        seed, {kind: places for kind, places in targets.items() if kind not in without}, faults, pace=pace
    )


async def battle(
    cluster: Cluster,
    directory: Path,
    *,
    seed: str,
    workers: Sequence[str],
    runs_of: Sequence[str],
    words: int = 16,
    make_plan: MakePlan = no_faults,
    haunted: int = 0,
    patience: float = PATIENCE_SECONDS,
    crash: bool = True,
) -> Verdict:
    """Carries a plan of faults out under load, made by `make_plan` of what can befall this cluster.

    `workers` are names such as `python-0` and `typescript-1`; `runs_of` has a language for each run that is led at a
    time; `haunted` is how many runs have ghosts for workers. At the end everything is read, with `crash` after it
    has crashed and started again.
    """
    history, final = History(), FinalRead()
    run_ids: list[str] = []
    fleet = Fleet(directory)
    async with cluster, AsyncExitStack() as ending:
        for name in workers:
            fleet.add(name, await cluster.way_in(name))
        ending.callback(fleet.end)
        for name in workers:
            fleet.start(name)
        client = await ending.enter_async_context(
            midstream.connect(f"grpc://{await cluster.way_in('the Python sender')}", retry_timeout=None)
        )
        senders: list[Sending] = [
            PythonSending(client),
            await ending.enter_async_context(TypeScriptSending(await cluster.way_in("the TypeScript sender"))),
        ]
        attack = Attack(cluster, fleet, history, seed)
        load = MixedLoad(history, seed, runs_of=runs_of, words=words, patience=patience)
        ghosts = [
            Ghost(f"ghost-{number}", await cluster.way_in(f"ghost-{number}", server=number))
            for number in range(len(cluster.servers) if haunted else 0)
        ]
        faults = make_plan(targets(cluster, fleet))
        _write_plan(directory, seed, faults)
        haunting = [asyncio.create_task(ghost.run()) for ghost in ghosts]
        try:
            run_ids += await start_haunted(client, history, haunted)
            async with asyncio.TaskGroup() as group:
                group.create_task(_attack_and_end(attack, faults, load))
                await load.run(client, senders, attack.calm)
            for ghost in ghosts:
                ghost.finish()
            for run_id in run_ids:
                await load.until_ended(client, run_id, attack.calm)
        except* Surprised:
            pass  # It is in the history; what is stored by now still tells more.
        finally:
            for each in haunting:
                each.cancel()
            await asyncio.gather(*haunting, return_exceptions=True)
            history.write(directory / HISTORY_FILE)
        if crash:
            await to_the_end(fleet.end)
            await cluster.crash_everything()
        async with asyncio.timeout(60):
            final = await read_final(cluster.address, [*load.run_ids, *run_ids])
    return Verdict(check(history, final), history, final, directory / HISTORY_FILE, seed)


async def _attack_and_end(attack: Attack, faults: Sequence[Fault], load: MixedLoad) -> None:
    await attack.run(faults)
    load.end()


def _write_plan(directory: Path, seed: str, faults: Sequence[Fault]) -> None:
    content = {"seed": seed, "faults": [asdict(fault) for fault in faults]}
    (directory / PLAN_FILE).write_text(json.dumps(content, indent=1) + "\n")
