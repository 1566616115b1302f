"""One chaos run of managed runs: a cluster, workers and senders of both languages, planned faults, and the verdict."""

import asyncio
import json
from collections.abc import Sequence
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

PLAN_FILE = "plan.json"
PATIENCE_SECONDS = 20.0
DRAIN_SECONDS = 10.0


async def battle(
    cluster: Cluster,
    directory: Path,
    *,
    seed: str,
    workers: Sequence[str],
    runs_of: Sequence[str],
    words: int = 16,
    faults: int = 0,
    kinds: Sequence[str] | None = None,
    haunted: int = 0,
    patience: float = PATIENCE_SECONDS,
) -> Verdict:
    """Plans so many `faults`, of all `kinds` that can befall this cluster, and carries them out under load.

    `workers` are names such as `python-0` and `typescript-1`; `runs_of` has a language for each run that is led at a
    time; `haunted` is how many runs have ghosts for workers. At the end everything crashes, starts again and is read.
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
        planned = plan(seed, _chosen(cluster, fleet, kinds), faults)
        _write_plan(directory, seed, planned)
        haunting = [asyncio.create_task(ghost.run()) for ghost in ghosts]
        try:
            run_ids += await start_haunted(client, history, haunted)
            async with asyncio.TaskGroup() as group:
                group.create_task(_attack_and_end(attack, planned, load))
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
        await to_the_end(fleet.end)
        await cluster.crash_everything()
        async with asyncio.timeout(60):
            final = await read_final(cluster.address, [*load.run_ids, *run_ids])
    return Verdict(check(history, final), history, final, directory / HISTORY_FILE)


async def _attack_and_end(attack: Attack, planned: Sequence[Fault], load: MixedLoad) -> None:
    await attack.run(planned)
    load.end()


def _chosen(cluster: Cluster, fleet: Fleet, kinds: Sequence[str] | None) -> dict[str, Sequence[str]]:
    return {kind: each for kind, each in targets(cluster, fleet).items() if kinds is None or kind in kinds}


def _write_plan(directory: Path, seed: str, planned: Sequence[Fault]) -> None:
    content = {"seed": seed, "faults": [asdict(fault) for fault in planned]}
    (directory / PLAN_FILE).write_text(json.dumps(content, indent=1) + "\n")
