"""The research agent, steered while it works: `make demo`, or `python demo.py [--pace FACTOR]`.

Starts a server on SQLite in a temporary directory, the agent, and somebody who steers it, each in a process of its own,
and tells what happens. It waits for everything that it tells; `--pace` only gives people time to read (0: none).
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import midstream
from actor import StageError
from agent import TOPIC
from narrator import Narrator
from stage import Stage

EARLY = "How long does it last?"
FOCUS = "focus on cost"
LATE = "What about fire safety?"


async def play(stage: Stage, narrator: Narrator, thinking: float) -> None:
    """The whole story."""
    await narrator.title(
        "Midstream sends typed data into running tasks",
        "A research agent works in one process. You steer it from another, in the middle of its run.\n"
        "Between them stands a server, which says yes to a record only once it is on disk.",
    )

    await narrator.scene("A server", "One process on one SQLite file. There is nothing else to set up.")
    await stage.start_server()

    await narrator.scene(
        "A word before anybody listens",
        "A run can be sent to before its process exists. The server keeps the record until the agent asks for it.",
    )
    run_id = await create_run(stage.url)
    narrator.line("server", stage.server_style, f"{run_id} exists; nobody executes it yet")
    you = await stage.enter("you", "magenta", "steer.py", run_id)
    await you.type(f"follow-up {EARLY}")
    await you.says("stored")

    await narrator.scene("The agent starts", "It attaches to the run and hears what was sent before its first line.")
    agent = await stage.enter("agent", "green", "agent.py", run_id, "--thinking", str(thinking))
    await agent.says("heard follow-up", EARLY)
    await agent.says("round", EARLY)
    await agent.says("round", TOPIC.topic)

    await narrator.scene(
        "Steering",
        "Its code says user_message.on(heard): a handler, called in the middle of the work. No restart, no polling.",
    )
    await you.type(f"instruction {FOCUS}")
    await agent.says("heard instruction", FOCUS)
    await agent.says("round", FOCUS)

    await narrator.scene(
        "kill -9",
        "Now the server dies. The agent does not notice: it goes on with its work. You type a question meanwhile.",
    )
    await stage.kill_server()
    agent.forget()
    await you.type(f"follow-up {LATE}")
    await agent.says("round")
    await agent.says("round")
    await narrator.tell("The server comes back on the same file. Both sides reconnect by themselves.")
    await stage.start_server()
    await you.says("stored")
    await agent.says("heard follow-up", LATE)
    await agent.says("round", LATE)
    await narrator.tell("However often it was retried, it was stored once: every record carries a key of its own.")

    await narrator.scene("Approval", "You have enough. The agent ends its research and asks before it publishes.")
    await you.type("wrap-up That is enough")
    await agent.says("may I publish")
    await you.type("approve")
    await agent.says("finished")
    await agent.ended()
    await you.leave()

    await narrator.scene(
        "Looking back", "Every record, in the one order that everybody sees. Nothing lost, nothing twice."
    )
    await stage.midstream("tail", run_id)
    await narrator.tell("What Prometheus sees, since the server's restart:")
    for metric in await stage.metrics("midstream_sends_total", "midstream_runs{"):
        narrator.show(metric)
    await narrator.tell("And the run itself, with its report: your instruction and both questions have shaped it.")
    await stage.midstream("runs", "show", run_id)
    await stage.stop_server()


async def create_run(url: str) -> str:
    """Makes a run for an agent that will attach to it later, and returns its id."""
    async with midstream.connect(url) as client, client.attach(task="research-agent", payload=TOPIC) as run:
        run.detach()
        return run.id


async def tell_what_next(narrator: Narrator) -> None:
    here = Path(__file__).parent
    folder = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    activate = Path(sys.prefix) / "bin" / "activate"
    await narrator.scene("Your turn", "In three terminals:")
    if activate.exists():
        shown = activate.relative_to(Path.cwd()) if activate.is_relative_to(Path.cwd()) else activate
        narrator.command(f"source {shown}", "in each of them")
    narrator.command("midstream-server")
    narrator.command(f"python {folder}/agent.py", "prints its RUN")
    narrator.command(f"python {folder}/steer.py RUN", "then type: instruction focus on recycling")
    await narrator.tell("Or from the command line:")
    narrator.command("midstream runs list")
    narrator.command("""midstream send RUN user-message '{"kind": "follow-up", "text": "Does it burn?"}'""")
    narrator.command("midstream tail RUN")
    await narrator.tell(f"The agent's code is short: {folder}/agent.py")


async def main(pace: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    narrator = Narrator(pace)
    with tempfile.TemporaryDirectory(prefix="midstream-demo-") as directory:
        async with Stage(Path(directory), narrator) as stage:
            await play(stage, narrator, thinking=0.5 + 0.3 * min(pace, 1))
    await tell_what_next(narrator)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="The research agent, steered while it works.")
    arguments.add_argument(
        "--pace",
        type=float,
        default=1.0 if sys.stdout.isatty() else 0.0,
        metavar="FACTOR",
        help="time to read: 1 on a terminal, 0 (none) elsewhere",
    )
    try:
        asyncio.run(main(arguments.parse_args().pace))
    except (StageError, midstream.MidstreamError) as error:
        sys.exit(f"\nThe demo could not go on: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except asyncio.CancelledError:
        sys.exit(143)
