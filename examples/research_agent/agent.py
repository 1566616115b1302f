"""A research agent that can be steered while it works, and needs no process while it waits for its approval.

midstream worker agent             executes runs
python start.py                    starts one
"""

import asyncio

from draft import Draft
from library import Finding, search
from midstream import Context, step, task
from streams import Topic, UserMessage, approval, cancel, user_message


@step(retry=3)
async def research(topic: str, question: str, known: list[Finding], thinking: float) -> Finding | None:
    """Looks something up: a step, so that no replay does it again. `thinking` is where a model would think."""
    await asyncio.sleep(thinking)
    return search(topic, question, known)


@task("research-agent", idle_timeout="1s")
async def research_agent(ctx: Context, payload: Topic) -> str:
    """Researches in rounds until told to wrap up; returns the report, if it is approved."""
    draft = Draft(payload.topic)

    def heard(message: UserMessage) -> None:
        ctx.log.info("heard %s: %s", message.kind, message.text)
        draft.hear(message)

    user_message.on(heard)
    for number in range(1, payload.max_rounds + 1):
        if draft.wrap_up:
            break
        if (stop := cancel.peek()) is not None:
            return f"Stopped: {stop.reason}"
        question = draft.next_question()
        finding = await research(payload.topic, question, draft.known(), payload.thinking)
        if finding is not None:
            draft.add(question, finding)
        ctx.log.info("round %d: %s -> %s", number, question, "nothing new" if finding is None else finding.source)

    ctx.log.info("the draft is ready: may I publish it?")
    answer = await approval.wait(timeout="7d")  # nothing runs here until somebody answers
    if not answer.ok:
        return "Nobody answered in seven days."
    ctx.log.info("approved" if answer.output.approved else "rejected")
    return draft.report() if answer.output.approved else "The draft was rejected."
