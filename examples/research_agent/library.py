"""A small library of text files, and a search that needs no model."""

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel

LIBRARY = Path(__file__).with_name("library")


class Finding(BaseModel):
    """One fact and the file that it stands in."""

    text: str
    source: str


def search(topic: str, question: str, known: Collection[Finding], folder: Path = LIBRARY) -> Finding | None:
    """The fact that fits best of those that are not `known`; None where no fact fits the question."""
    facts = _facts(folder)
    common = Counter(word for fact in facts for word in _words(fact.text))
    asked, wider = _words(question), _words(topic) | _words(question)

    def score(fact: Finding) -> float:
        """A rare word tells more than a common one, and the question more than the topic."""
        return sum((10 if word in asked else 1) / common[word] for word in _words(fact.text) & wider)

    fitting = [fact for fact in facts if fact not in known and asked & _words(fact.text)]
    return max(fitting, key=score, default=None)


def _facts(folder: Path) -> list[Finding]:
    return [
        Finding(text=line.removeprefix("- "), source=path.name)
        for path in sorted(folder.glob("*.md"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("- ")
    ]


def _words(text: str) -> set[str]:
    """The words that carry meaning, in the singular: of `The costs of batteries`, `cost` and `battery`."""
    words = re.findall(r"[a-z]{4,}", text.lower())
    return {re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", word)) for word in words} - _SMALL_WORDS


_SMALL_WORDS = frozenset(
    ["about", "does", "from", "have", "into", "long", "more", "much", "only", "that", "this", "what"]
)
