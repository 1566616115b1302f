"""One chaos run: a server process, a load, faults at random moments, a last restart, and the checker's verdict."""

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from support.chaos.checker import check, summary
from support.chaos.final_read import read_final
from support.chaos.history import FinalRead, History, Sent, Started
from support.chaos.load import Load, RawLoad
from support.chaos.wire import Surprised, surprised
from support.postgres import Postgres
from support.server_process import ServerProcess, StartFailed

Result = TypeVar("Result")

MakeLoad = Callable[[str, History, str], Load]
"""Makes a load from the server's address, the history and a seed."""

Fault = Callable[[ServerProcess, History], Awaitable[None]]

HISTORY_FILE = "history.jsonl"
TOLD_EVENTS = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker said, and of what."""

    violations: list[str]
    history: History = field(repr=False)
    final: FinalRead = field(repr=False)
    history_path: Path
    seed: str

    def rules(self) -> set[str]:
        """The rules that were violated."""
        return {violation.split(":", 1)[0] for violation in self.violations}

    def __str__(self) -> str:
        """The seed, the violations, and what happened at the end to the runs that they name."""
        named = {run_id for run_id in self.final.keys() | _runs_of(self.history) if self._names(run_id)}
        told = self.history.told(named, last=TOLD_EVENTS) if named else []
        return "\n".join(
            [
                f"seed {self.seed}: {summary(self.violations)}",
                *(["how it came:", *told] if told else []),
                f"all of it is in {self.history_path}",
            ]
        )

    def _names(self, run_id: str) -> bool:
        return any(re.search(rf"\b{re.escape(run_id)}\b", violation) for violation in self.violations)


async def chaos(
    directory: Path,
    *,
    seed: str,
    kills: int,
    drains: int = 0,
    max_answers: int = 2_000,
    launch: Sequence[str] | None = None,
    make_load: MakeLoad = RawLoad,
    database: Postgres | None = None,
    crashes: int = 0,
    patience: float | None = None,
) -> Verdict:
    """Kills and drains the server so often under load, each time after some answers, and kills it at the end.

    How many answers, is drawn from 50 to `max_answers`.
    `launch`: flags of `support.chaos.launch`, for a server under power cuts or without a safeguard; None is the product
    as it is. `database` is the store, in place of SQLite, and `crashes` is how often it is killed too; the server goes
    on through that. The history is left in the directory. After `patience` seconds it ends, whatever it waits for.
    """
    randomness = random.Random(seed)
    history = History()
    server = ServerProcess(
        directory,
        module="midstream_server" if launch is None else "support.chaos.launch",
        args=[
            *(launch or ()),
            *([] if database is None else ["--store", database.url()]),
            "--listen",
            f"127.0.0.1:{quiet_port()}",
        ],
    )
    order: list[Fault] = [*[_kill_and_restart] * kills, *[_drain_and_restart] * drains]
    if database is not None:

        async def crash(server: ServerProcess, history: History) -> None:
            await to_the_end(database.kill9)
            await to_the_end(database.start)

        order += [crash] * crashes
    randomness.shuffle(order)

    async def faults() -> None:
        for fault in order:
            await history.until_answers(randomness.randint(50, max_answers))
            await fault(server, history)
        await history.until_answers(randomness.randint(50, max_answers))

    final: FinalRead = {}
    with server:
        address = server.url.removeprefix("grpc://")
        load = make_load(address, history, seed)
        try:
            async with asyncio.timeout(patience):
                await load.run(faults)
        except* (Surprised, TimeoutError):
            pass  # It is in the history; what is stored by now still tells more.
        finally:
            await load.close()
            history.write(directory / HISTORY_FILE)
        with contextlib.suppress(Surprised):
            await _kill_and_restart(server, history)
            final = await read_final(address, load.run_ids)
    return Verdict(check(history, final), history, final, directory / HISTORY_FILE, seed)


def _runs_of(history: History) -> set[str]:
    return {event.run_id for event in history if isinstance(event, Sent | Started)}


async def _kill_and_restart(server: ServerProcess, history: History) -> None:
    try:
        await to_the_end(server.restart)
    except StartFailed as error:
        raise surprised(history, "start", "server", error) from None


async def _drain_and_restart(server: ServerProcess, history: History) -> None:
    code = await to_the_end(server.terminate)
    if code != 0 or server.events("drain_timed_out"):
        raise surprised(history, "SIGTERM", "server", f"exit code {code}, {server.events('drain_timed_out')}")
    await _kill_and_restart(server, history)


async def to_the_end(function: Callable[[], Result]) -> Result:
    """Runs it in a thread; who is cancelled meanwhile waits for it, so that nobody finds a process half started."""
    running = asyncio.create_task(asyncio.to_thread(function))
    try:
        return await asyncio.shield(running)
    finally:
        await asyncio.wait([running])


def quiet_port() -> int:
    """A free port that no outgoing connection is given by chance while the server is down.

    Drawn without the seed: another test, at the same time and with the same seed, must not have the same ports.
    """
    for port in random.SystemRandom().sample(range(10_000, 30_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port among a hundred")
