"""What the agent knows so far, and what the user has made of it. Plain Python: no word of Midstream."""

from collections import deque

from library import Finding
from streams import UserMessage


class Draft:
    """A report in the making, one chapter for each question."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.wrap_up = False
        self._focus = topic
        self._follow_ups: deque[str] = deque()
        self._chapters: dict[str, list[Finding]] = {}

    def hear(self, message: UserMessage) -> None:
        """Takes a word from the user into account."""
        match message.kind:
            case "instruction":
                self._focus = message.text
            case "follow-up":
                self._follow_ups.append(message.text)
            case "wrap-up":
                self.wrap_up = True

    def next_question(self) -> str:
        """The oldest follow-up, else what the user wants to know at all."""
        return self._follow_ups.popleft() if self._follow_ups else self._focus

    def known(self) -> list[Finding]:
        return [finding for findings in self._chapters.values() for finding in findings]

    def add(self, question: str, finding: Finding) -> None:
        self._chapters.setdefault(question, []).append(finding)

    def report(self) -> str:
        """Markdown, each fact with its source."""
        lines = [f"# {self.topic.capitalize()}"]
        for question, findings in self._chapters.items():
            lines += ["", f"## {question.capitalize()}", ""]
            lines += [f"- {finding.text} [{finding.source}]" for finding in findings]
        return "\n".join(lines)
