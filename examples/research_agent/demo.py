"""The research agent, steered while it works: `make demo`, or `python demo.py [--pace FACTOR]`.

Starts a server on SQLite in a temporary directory, a worker for the agent, and somebody who steers it, each in a
process of its own, and tells what happens. It waits for everything that it tells; `--pace` only gives people time to
read (0: none).
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import midstream
import processes
from actor import StageError
from agent import research_agent
from narrator import Narrator
from stage import Stage
from streams import Topic

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
        "A run can be sent to before anybody executes it. The server keeps the record until the agent asks for it.",
    )
    topic = Topic(thinking=thinking)
    async with midstream.connect(stage.url) as client:
        run_id = (await research_agent.start(topic, client=client)).id
    narrator.line("server", stage.server_style, f"{run_id} is queued; there is no worker yet")
    you = await stage.enter("you", "magenta", "steer.py", run_id)
    await you.type(f"follow-up {EARLY}")
    await you.says("stored")

    await narrator.scene(
        "The agent starts",
        "A worker takes the run, and gives it a process. It hears what was sent before its first line.",
    )
    worker = await stage.start_worker("worker-1")
    await worker.says("heard follow-up", EARLY)
    pid = stage.process_of_run(worker)
    narrator.line(worker.name, stage.worker_style, f"the run has process {pid}")
    await worker.says("round", EARLY)
    await worker.says("round", topic.topic)

    await narrator.scene(
        "Steering",
        "Its code says user_message.on(heard): a handler, called in the middle of the work. No restart, no polling.",
    )
    await you.type(f"instruction {FOCUS}")
    await worker.says("heard instruction", FOCUS)
    await worker.says("round", FOCUS)

    await narrator.scene(
        "kill -9 the server",
        "Now the server dies. The agent's step goes on, and its result is kept. You type a question meanwhile.",
    )
    await stage.kill_server()
    await you.type(f"follow-up {LATE}")
    await worker.says("disconnected")
    await narrator.tell("The server comes back on the same file. Everybody reconnects by themselves.")
    await stage.start_server()
    await you.says("stored")
    await worker.says("heard follow-up", LATE)
    await worker.says("round", LATE)
    await narrator.tell("However often it was retried, it was stored once: every record carries a key of its own.")

    await narrator.scene(
        "Waiting without a process",
        "You have enough. The agent ends its research and asks before it publishes:\n"
        'its code says approval.wait(timeout="7d"), in the middle of a function with all its variables.',
    )
    await you.type("wrap-up That is enough")
    await worker.says("may I publish")
    await you.leave()
    await worker.says("run_suspended")
    await stage.gone(pid)
    narrator.line(
        processes.SOURCE, "cyan", f"there is no process {pid}: it has ended and was reaped, no zombie is left"
    )
    await narrator.tell("Seven days of waiting cost a few rows in the database. No process, no memory.")

    await narrator.scene(
        "kill -9 the worker", "Now the worker dies too, and another one starts, on any machine that has the code."
    )
    await stage.kill_worker(worker)
    worker = await stage.start_worker("worker-2")

    await narrator.scene("Approval", "You say yes, from one more process, which knows nothing but the run's id.")
    await stage.midstream("send", run_id, "approval", '{"approved": true}')
    await worker.says("run_resumed")
    await worker.says("approved")
    await worker.says("run_finished")
    await narrator.tell(
        "The function was called again and its log replayed: steps return what they returned, handlers hear what they\n"
        "heard, and no round was done twice. Then it went on behind its wait."
    )

    await narrator.scene("Looking back", "What Prometheus sees, since the server's restart:")
    for metric in await stage.metrics("midstream_sends_total", "midstream_runs{"):
        narrator.show(metric)
    await narrator.tell(
        "And the run: everything that ever happened to it, in the one order that everybody sees, and its report.\n"
        "Nothing lost, nothing twice; your instruction and both questions have shaped it."
    )
    await stage.midstream("runs", "show", run_id)
    await worker.stop()
    await stage.stop_server()


async def tell_what_next(narrator: Narrator) -> None:
    here = Path(__file__).parent
    folder = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    activate = Path(sys.prefix) / "bin" / "activate"
    await narrator.scene("Your turn", "In three terminals, the last two commands in one of them:")
    if activate.exists():
        shown = activate.relative_to(Path.cwd()) if activate.is_relative_to(Path.cwd()) else activate
        narrator.command(f"source {shown}", "in each of them")
    narrator.command("midstream-server")
    narrator.command(f"midstream worker agent --directory {folder}")
    narrator.command(f"python {folder}/start.py", "prints its RUN")
    narrator.command(f"python {folder}/steer.py RUN", "then type: instruction focus on recycling")
    await narrator.tell("Or from the command line:")
    narrator.command("midstream runs list")
    narrator.command("""midstream send RUN user-message '{"kind": "follow-up", "text": "Does it burn?"}'""")
    narrator.command("midstream runs show RUN")
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
