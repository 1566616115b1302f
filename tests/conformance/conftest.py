"""The servers for all that runs here: on each store one of each kind."""

from collections.abc import Iterator

import pytest

from support.conformance.servers import STORES, PlayedServer, played_servers


@pytest.fixture(scope="session", params=STORES)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, PlayedServer]]:
    """With the settings that the vectors expect. Vectors keep to runs of their own."""
    databases = None if request.param == "sqlite" else request.getfixturevalue("databases")
    with played_servers(tmp_path_factory.mktemp(request.param), databases) as servers:
        yield servers
        for kind in ("open", "keyed"):
            assert servers[kind].process.faults() == []
            assert servers[kind].process.stderr_path.read_text() == ""
