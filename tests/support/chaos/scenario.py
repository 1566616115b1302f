"""One chaos run: a server process, a load, faults at random moments, a last restart, and the checker's verdict."""

import asyncio
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.chaos.checker import check, summary
from support.chaos.history import FinalRead, History, Surprise
from support.chaos.load import Load, MakeSenders, raw_senders
from support.chaos.wire import Surprised
from support.server_process import ServerProcess, StartFailed

HISTORY_FILE = "history.jsonl"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker said. `kills`: how often the server was killed, the last restart included."""

    violations: list[str]
    history: History
    kills: int

    def rules(self) -> set[str]:
        """The rules that were violated."""
        return {violation.split(":", 1)[0] for violation in self.violations}

    def __str__(self) -> str:
        return summary(self.violations)


async def chaos(
    directory: Path,
    *,
    seed: str,
    kills: int,
    launch: Sequence[str] | None = None,
    make_senders: MakeSenders = raw_senders,
) -> Verdict:
    """Kills the server `kills` times under load, each time after a random number of answers, and once more at the end.

    `launch`: flags of `support.chaos.launch`, for a server under power cuts or without a safeguard; None is the product
    as it is. The history is left in the directory.
    """
    randomness = random.Random(seed)
    history = History()
    arguments = ["--listen", f"127.0.0.1:{_quiet_port(randomness)}"]
    server = ServerProcess(
        directory,
        module="midstream_server" if launch is None else "support.chaos.launch",
        args=[*(launch or ()), *arguments],
    )
    killed = 0

    async def kill_and_restart() -> None:
        nonlocal killed
        server.kill9()
        killed += 1
        try:
            await asyncio.to_thread(server.start)
        except StartFailed as error:
            history.add(Surprise("restart", "server", str(error)))
            raise Surprised(str(error)) from None

    async def faults() -> None:
        for _ in range(kills):
            await history.until_answers(randomness.randint(50, 2_000))
            await kill_and_restart()
        await history.until_answers(randomness.randint(50, 2_000))

    final: FinalRead = {}
    with server:
        load = Load(server.url.removeprefix("grpc://"), history, seed, make_senders=make_senders)
        try:
            await load.run(faults)
            await kill_and_restart()
            final = await load.read_final()
        except* Surprised:
            # What the product should never do has been seen; what it stored still tells more.
            final = await _final_after_surprise(server, load)
        finally:
            await load.close()
            history.write(directory / HISTORY_FILE)
    return Verdict(check(history, final), history, killed)


async def _final_after_surprise(server: ServerProcess, load: Load) -> FinalRead:
    try:
        await asyncio.to_thread(server.restart)
    except StartFailed:
        return {}
    return await load.read_final()


def _quiet_port(randomness: random.Random) -> int:
    """A free port that no outgoing connection is given by chance while the server is down."""
    for port in randomness.sample(range(10_000, 30_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port among a hundred")
