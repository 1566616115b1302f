"""What the agent knows and what the user wants of it. Plain Python: no word of Midstream."""

from collections import deque

from chat.streams import UserMessage
from library import Finding


class Inquiry:
    """An answer in the making."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.question = topic
        self.findings: list[tuple[str, Finding]] = []
        self.is_enough = False
        self._asked: deque[str] = deque()

    def hear(self, message: UserMessage) -> None:
        """Takes a word from the user into account."""
        self.is_enough = message.kind == "wrap-up"
        if message.kind == "ask":
            self._asked.append(message.text)
        elif message.kind == "deeper" and self.findings:
            last = self.findings[-1][1]
            self._asked.append(last.source.removesuffix(".md").replace("-", " "))

    def next_question(self) -> str:
        """What was asked meanwhile, else the question before."""
        if self._asked:
            self.question = self._asked.popleft()
        return self.question

    def known(self) -> list[Finding]:
        return [finding for _, finding in self.findings]

    def learn(self, finding: Finding | None) -> None:
        """Nothing more on a question: back to the topic. Nothing more on the topic: enough."""
        if finding is not None:
            self.findings.append((self.question, finding))
        elif self.question != self.topic:
            self.question = self.topic
        elif not self._asked:
            self.is_enough = True

    def conclusion(self) -> str:
        """The first finding on each question, in one paragraph."""
        first = {question: finding.text for question, finding in reversed(self.findings)}
        return f"In short: {' '.join(reversed(first.values()))}" if first else "The library has nothing on this."
