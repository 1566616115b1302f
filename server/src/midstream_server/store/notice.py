"""What a server hears of what other servers on the same store have committed: ids only. It looks for the rest."""

from collections.abc import Collection
from typing import NamedTuple

from midstream_server.store.interface import Change


class Queued(NamedTuple):
    """A run of the task waits for a worker."""

    namespace: str
    task: str


class Notice(NamedTuple):
    """What has changed; where runs wait for a worker; workers, by number, whose lease is over; and namespaces whose
    schemas are others now."""

    changes: Collection[Change] = ()
    queued: Collection[Queued] = ()
    vacated: Collection[int] = ()
    schemas: Collection[str] = ()
