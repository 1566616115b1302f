"""What a store tells about a commit."""

from typing import NamedTuple

from midstream_server.store.interface import Change


class CommitReport(NamedTuple):
    """What one commit did. `seconds` is the time that COMMIT took, its wait for the disk included."""

    operations: int
    seconds: float
    changes: set[Change]
