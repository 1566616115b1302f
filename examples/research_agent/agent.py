"""A research agent that can be steered while it works.

    python agent.py [RUN_ID] [--thinking SECONDS]

With a run id it becomes that run, and hears what was sent before it started. Without one it starts a run of its own.
"""

import argparse
import asyncio
from collections import deque

import midstream
from library import Finding, Library
from midstream import AttachedRun
from streams import Topic, UserMessage, approval, cancel, user_message

TOPIC = Topic(topic="storing electricity for the grid")


async def research(run: AttachedRun, thinking: float) -> str:
    """Researches in rounds until told to wrap up; returns the report, if it is approved."""
    task = Topic.model_validate(run.payload)
    library = Library()
    chapters: dict[str, list[Finding]] = {}
    focus = task.topic
    follow_ups: deque[str] = deque()
    wrap_up = False

    def heard(message: UserMessage) -> None:
        nonlocal focus, wrap_up
        say(f"heard {message.kind}: {message.text}")
        match message.kind:
            case "instruction":
                focus = message.text
            case "follow-up":
                follow_ups.append(message.text)
            case "wrap-up":
                wrap_up = True

    user_message.on(heard)
    for number in range(1, task.max_rounds + 1):
        await asyncio.sleep(thinking)  # where a model would think; meanwhile messages are heard
        if wrap_up:
            break
        if (stop := cancel.peek()) is not None:
            return f"Stopped: {stop.reason}"
        question = follow_ups.popleft() if follow_ups else focus
        finding = library.search(task.topic, question)
        if finding is not None:
            chapters.setdefault(question, []).append(finding)
        say(f"round {number}: {question} -> {finding.source if finding is not None else 'nothing new'}")

    say("the draft is ready: may I publish it?")
    answer = await approval.once(timeout="5m")
    if not answer.ok:
        return "Nobody answered in time."
    if not answer.unwrap().approved:
        return "The draft was rejected."
    say("approved")
    return report(task.topic, chapters)


def report(topic: str, chapters: dict[str, list[Finding]]) -> str:
    """The findings as Markdown, one chapter for each question, each fact with its source."""
    lines = [f"# {topic.capitalize()}"]
    for question, findings in chapters.items():
        lines += ["", f"## {question.capitalize()}", ""]
        lines += [f"- {finding.text} [{finding.source}]" for finding in findings]
    return "\n".join(lines)


def say(line: str) -> None:
    print(line, flush=True)


async def main() -> None:
    arguments = argparse.ArgumentParser(description="A research agent that can be steered while it works.")
    arguments.add_argument("run_id", nargs="?", help="the run to become; omitted: a new one")
    arguments.add_argument("--rounds", type=int, default=40, help="after how many a new run wraps up by itself")
    arguments.add_argument("--thinking", type=float, default=2.0, metavar="SECONDS", help="how long a round takes")
    options = arguments.parse_args()

    async with midstream.connect() as client:
        if options.run_id is None:
            topic = TOPIC.model_copy(update={"max_rounds": options.rounds})
            block = client.attach(task="research-agent", payload=topic)
        else:
            block = client.attach(options.run_id)
        async with block as run:
            say(f"I am {run.id}")
            run.finish(await research(run, options.thinking))
    say(f"finished; read the result with: midstream runs show {run.id}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except midstream.RunCancelled:
        say("cancelled")
    except KeyboardInterrupt:
        say("interrupted")
