"""The same agent without a worker: this process is the run, for as long as it lives.

    python attached.py [--rounds N] [--thinking SECONDS]

That suits a script, a notebook or a job queue's job. Its approval has to come while it lives: `once` instead of `wait`.
"""

import argparse
import asyncio

import midstream
from agent import research
from draft import Draft
from streams import Topic, approval, user_message


async def work(topic: Topic) -> str:
    draft = Draft(topic.topic)
    user_message.on(draft.hear)
    for _ in range(topic.max_rounds):
        if draft.wrap_up:
            break
        question = draft.next_question()
        finding = await research(topic.topic, question, draft.known(), topic.thinking)  # here just a function
        if finding is not None:
            draft.add(question, finding)
    print("may I publish the draft?", flush=True)
    answer = await approval.once(timeout="5m")
    return draft.report() if answer.ok and answer.output.approved else "It was not approved."


async def main() -> None:
    arguments = argparse.ArgumentParser(description="A research agent whose process is the run.")
    arguments.add_argument("--rounds", type=int, default=40, help="after how many it wraps up by itself")
    arguments.add_argument("--thinking", type=float, default=2.0, metavar="SECONDS", help="how long a round takes")
    options = arguments.parse_args()
    topic = Topic(max_rounds=options.rounds, thinking=options.thinking)
    async with midstream.connect() as client, client.attach(task="attached-agent", payload=topic) as run:
        print(f"I am {run.id}", flush=True)
        run.finish(await work(topic))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (KeyboardInterrupt, midstream.RunCancelled):
        print("stopped")
