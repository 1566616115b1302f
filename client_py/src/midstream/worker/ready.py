"""What becomes of starting a template."""

from collections.abc import Mapping
from dataclasses import dataclass


class TemplateFailed(Exception):
    """The user's modules could not be imported. The message is for a person."""


@dataclass(frozen=True)
class Ready:
    """What a template has found. `threads` names those that keep it from forking.

    `schemas` is a serialised RegisterSchemasRequest for the streams that its modules declare, where that was asked for.
    """

    tasks: Mapping[str, str]
    threads: tuple[str, ...]
    spawns: bool
    pid: int
    schemas: bytes
