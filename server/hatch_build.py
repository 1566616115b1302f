"""Adds the distribution `midstream`, which holds the generated code, to the server's dependencies.

In a checkout it is the neighbouring folder, so that `pip install ./server` works alone. Anywhere else it is the
published distribution of the server's own version; `MIDSTREAM_BY_VERSION=1` asks for that in a checkout, too: for a
release, and to install both packages in one go.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class DependencyHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        client = Path(self.root).resolve().parent / "client_py"
        in_checkout = (client / "pyproject.toml").is_file() and not os.environ.get("MIDSTREAM_BY_VERSION")
        midstream = f"midstream @ {client.as_uri()}" if in_checkout else f"midstream=={metadata['version']}"
        metadata["dependencies"] = [midstream, *self.config["dependencies"]]
