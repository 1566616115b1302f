"""What can be done about a run that is blocked."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from midstream import Assignment, AssignmentEnd, Run
from midstream.cli import text

_DID_WELL: Final = (AssignmentEnd.SUSPENDED, AssignmentEnd.RELEASED, AssignmentEnd.LEASE_LOST)


def ways_on(run: Run, assignments: Sequence[Assignment]) -> list[str]:
    """A sentence for each way out."""
    failed = _versions(a for a in assignments if a.end in (AssignmentEnd.BLOCKED, AssignmentEnd.DIED))
    fitting = [version for version in _versions(a for a in assignments if a.end in _DID_WELL) if version not in failed]
    tried = f" It has been tried with {' and '.join(failed)}." if failed else ""
    known = f" Code {fitting[-1]} executed it before." if fitting else ""
    return [
        "Nothing is lost: its log is kept, and it still takes records.",
        f"Start a worker with code that fits: the run goes on where it was, by itself.{known}",
        f"Each version of the code is tried once.{tried}",
        f"Or give it up: midstream cancel {shlex.quote(text.printable(run.id))}",
    ]


def _versions(assignments: Iterable[Assignment]) -> list[str]:
    """Each once, oldest first."""
    return list(dict.fromkeys(text.printable(a.code_version) for a in assignments if a.code_version))
