"""What can be sent into a run of the research agent. The agent and whoever steers it share this file."""

from typing import Literal

from pydantic import BaseModel

from midstream import input_stream


class Topic(BaseModel):
    """What a run is about. `thinking` is how long a round takes, in seconds."""

    topic: str = "storing electricity for the grid"
    max_rounds: int = 40
    thinking: float = 2.0


class UserMessage(BaseModel):
    """A word from the user while the agent works."""

    kind: Literal["instruction", "follow-up", "wrap-up"]
    text: str = ""


class Approval(BaseModel):
    """The verdict on the draft."""

    approved: bool


class Cancel(BaseModel):
    """Stop at once, without a report."""

    reason: str


user_message = input_stream("user-message", UserMessage)
approval = input_stream("approval", Approval)
cancel = input_stream("cancel", Cancel)
