"""A small library of text files, and a search that needs no model."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LIBRARY = Path(__file__).with_name("library")


@dataclass(frozen=True)
class Finding:
    """One fact and the file that it stands in."""

    text: str
    source: str


class Library:
    """Facts that have not been found yet."""

    def __init__(self, folder: Path = LIBRARY) -> None:
        self._unread = [
            Finding(line.removeprefix("- "), path.name)
            for path in sorted(folder.glob("*.md"))
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("- ")
        ]
        self._common = Counter(word for finding in self._unread for word in _words(finding.text))

    def search(self, topic: str, question: str) -> Finding | None:
        """Returns the unread fact that fits best and marks it as read; None where no fact fits the question."""
        asked = _words(question)
        fitting = [finding for finding in self._unread if asked & _words(finding.text)]
        if not fitting:
            return None
        best = max(fitting, key=lambda finding: self._score(finding, _words(topic), asked))
        self._unread.remove(best)
        return best

    def _score(self, finding: Finding, topic: set[str], asked: set[str]) -> float:
        """A rare word tells more than a common one, and the question more than the topic."""
        words = _words(finding.text)
        return sum((10 if word in asked else 1) / self._common[word] for word in words & (topic | asked))


def _words(text: str) -> set[str]:
    """The words that carry meaning, in the singular: of `The costs of batteries`, `cost` and `battery`."""
    words = re.findall(r"[a-z]{4,}", text.lower())
    return {re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", word)) for word in words} - _SMALL_WORDS


_SMALL_WORDS = frozenset(
    ["about", "does", "from", "have", "into", "long", "more", "much", "only", "that", "this", "what"]
)
