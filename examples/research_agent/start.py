"""Starts a run of the research agent: `python start.py [--rounds N] [--thinking SECONDS] [TOPIC]`."""

import argparse
import asyncio

import midstream
from agent import research_agent
from streams import Topic


async def main() -> None:
    arguments = argparse.ArgumentParser(description="Starts a run of the research agent.")
    arguments.add_argument("topic", nargs="?", default=Topic().topic)
    arguments.add_argument("--rounds", type=int, default=40, help="after how many it wraps up by itself")
    arguments.add_argument("--thinking", type=float, default=2.0, metavar="SECONDS", help="how long a round takes")
    options = arguments.parse_args()
    payload = Topic(topic=options.topic, max_rounds=options.rounds, thinking=options.thinking)
    async with midstream.connect():
        run = await research_agent.start(payload)
    print(run.id)


if __name__ == "__main__":
    asyncio.run(main())
