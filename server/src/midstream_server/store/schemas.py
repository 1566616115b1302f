"""What the server needs of a store for the registry of schemas, beside `Store`: see there for how calls behave.

A schema is kept for good. Each change of the registry, of any namespace, makes its revision greater.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class StoredSchema(NamedTuple):
    """One version of a stream's schema. `digest` is the same for what says the same; `body` is the caller's."""

    stream_id: str
    version: int
    digest: bytes
    body: bytes
    at_us: int


class NewSchema(NamedTuple):
    """A schema to register, made with version `after_version` of its stream in view; 0: with none."""

    stream_id: str
    digest: bytes
    body: bytes
    after_version: int


class SchemaStore(Protocol):
    """See the module."""

    async def newest(self, namespace: str) -> list[StoredSchema]:
        """The newest schema of every stream, by stream id."""
        ...

    async def get(self, namespace: str, stream_id: str, version: int | None) -> StoredSchema | None:
        """One schema; None for the newest version."""
        ...

    async def page(
        self, namespace: str, stream_id: str | None, *, after: tuple[str, int], limit: int
    ) -> list[StoredSchema]:
        """By stream id and version, behind `after`: all versions of one stream, or of every stream the newest."""
        ...

    async def add(self, namespace: str, new: Sequence[NewSchema], *, now_us: int) -> list[StoredSchema] | None:
        """Registers all of them or none, as the versions behind those that they were made with in view.

        None: one of the streams has a newer version than that. Look again.
        """
        ...

    async def settings(self, namespace: str) -> bytes | None:
        """What `set_settings` was last given."""
        ...

    async def set_settings(self, namespace: str, body: bytes) -> None: ...

    async def revision(self) -> int:
        """0 before the first change."""
        ...
