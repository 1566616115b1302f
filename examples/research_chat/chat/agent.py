"""The agent: looks things up and writes the answer word by word, while somebody steers it from a page.

While it works, `user_message.on` and `stop.on` reach it in the middle of its function. For the approval it waits
without a process: up to seven days, in which nothing of it is in any memory.
"""

import asyncio
import os
from typing import Any

import midstream
from chat.inquiry import Inquiry
from chat.streams import (
    Approval,
    Event,
    Question,
    Stop,
    UserMessage,
    Word,
    answer,
    approval,
    progress,
    stop,
    user_message,
)
from library import Finding, search
from midstream import Context, InputStream, step, task


@step
async def look_up(question: str, topic: str, known: list[Finding], thinking: float) -> Finding | None:
    """The fact that fits best of those that are not known yet."""
    tell("looking", question=question)
    await asyncio.sleep(thinking)  # where a model would think
    finding = search(topic, question, known)
    if finding is None:
        tell("nothing", question=question)
    return finding


@step
async def write(text: str, paragraph: int, typing: float, question: str = "", source: str = "") -> None:
    """Streams a paragraph. If its process dies on the way, the next attempt takes back what this one has written."""
    tell("found" if source else "concluding", paragraph=paragraph, question=question, source=source)
    for word in text.split():
        answer.append(Word(paragraph=paragraph, text=word))
        await asyncio.sleep(typing)


@step
async def publish() -> None:
    """Where the answer would go out into the world: once, and in a process that did not exist while we waited."""
    tell("published")


def tell(kind: str, **details: Any) -> None:
    """From inside a step: what happens, and in which process."""
    progress.append(Event.model_validate({"kind": kind, "pid": os.getpid(), **details}))


@task("research-chat", idle_timeout="1s")
async def research_chat(ctx: Context, question: Question) -> str:
    """Returns how it ended."""
    inquiry = Inquiry(question.topic)
    anything: list[InputStream[Any]] = [approval, user_message, stop]
    paragraphs = 0
    stopped = False

    async def research() -> None:
        nonlocal paragraphs
        for _ in range(question.max_rounds):
            if inquiry.is_enough:
                break
            asked = inquiry.next_question()
            finding = await look_up(asked, question.topic, inquiry.known(), question.thinking)
            inquiry.learn(finding)
            if finding is not None:
                paragraphs += 1
                await write(finding.text, paragraphs, question.typing, asked, finding.source)
        paragraphs += 1
        await write(inquiry.conclusion(), paragraphs, question.typing)

    def heard(message: UserMessage) -> None:
        inquiry.hear(message)
        progress.append(Event(kind="heard", stream=user_message.id, how="on"))

    def stop_now(_: Stop) -> None:
        nonlocal stopped
        stopped = True
        progress.append(Event(kind="heard", stream=stop.id, how="on"))
        working.cancel()  # reaches the step's code at once

    while True:
        working = asyncio.ensure_future(research())
        listening = [user_message.on(heard), stop.on(stop_now)]
        try:
            await working
        except asyncio.CancelledError:
            if not stopped:
                raise
            break
        for subscription in listening:
            subscription.off()

        progress.append(Event(kind="asking"))
        stream, said = await midstream.wait_any(*anything, timeout="7d")  # the process is gone here
        if stream is None:
            return "nobody answered"
        progress.append(Event(kind="heard", stream=stream.id, how="wait"))
        match said.unwrap():
            case Approval(approved=True):
                await publish()
                return "published"
            case UserMessage() as message:
                inquiry.hear(message)
            case Stop():
                break
            case _:
                inquiry.is_enough = False

    progress.append(Event(kind="stopped"))
    return "stopped"
