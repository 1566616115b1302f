"""What the server keeps of how a run went."""

from collections.abc import Sequence
from dataclasses import dataclass

from midstream import Assignment, Entry


@dataclass(frozen=True, slots=True)
class History:
    """The run's log in offset order, and its assignments, oldest first."""

    entries: Sequence[Entry]
    assignments: Sequence[Assignment]
