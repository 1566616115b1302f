"""What the template and its children are told, as one line of JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from midstream.worker.settings import LogFormat, StartMethod


@dataclass(frozen=True, kw_only=True)
class TemplateSettings:
    """`idle_timeout_us` unset: each task's own."""

    modules: tuple[str, ...]
    directory: str
    idle_timeout_us: int | None
    log_format: LogFormat
    start_method: StartMethod
    push_schemas: bool

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        values["modules"] = tuple(values["modules"])
        return cls(**values)
