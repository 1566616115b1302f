"""What goes into a run of the chat's agent, and what comes out. `page/src/streams.ts` says the same."""

from typing import Literal

from pydantic import BaseModel, Field

from midstream import input_stream, output_stream


class Question(BaseModel):
    """What a run is about. `thinking` and `typing`: the agent's pace, in seconds a round and a word."""

    topic: str = Field(min_length=1, max_length=200)
    max_rounds: int = 20
    thinking: float = 1.2
    typing: float = 0.05


class UserMessage(BaseModel):
    """A word from the user: a question, the wish for more of the same, or that it is enough."""

    kind: Literal["ask", "deeper", "wrap-up"]
    text: str = Field(default="", max_length=2000)


class Approval(BaseModel):
    """The verdict on the draft."""

    approved: bool


class Stop(BaseModel):
    """End at once, with what there is."""


class Event(BaseModel):
    """Something for the page to show. `pid`: the process that did it."""

    kind: Literal["looking", "nothing", "found", "concluding", "heard", "asking", "published", "stopped"]
    pid: int = 0
    paragraph: int = 0
    question: str = ""
    source: str = ""
    stream: str = ""
    how: Literal["on", "wait", ""] = ""
    """Which way it heard a record: by a handler in the middle of its work, or by a wait that needs no process."""


class Word(BaseModel):
    """A piece of a paragraph."""

    paragraph: int
    text: str


user_message = input_stream("user-message", UserMessage)
approval = input_stream("approval", Approval)
stop = input_stream("stop", Stop)
progress = output_stream("progress", Event)
answer = output_stream("answer", Word)
