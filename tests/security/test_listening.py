"""Who may listen where: open on this machine only, and loudly so."""

from pathlib import Path

import pytest

import midstream
from midstream import can_read
from support.keyed_server import KeyedServer, reason_for
from support.server_process import ServerProcess, free_port


@pytest.mark.parametrize("listen", ["0.0.0.0:{port}", "[::]:{port}"])
def test_a_server_without_keys_does_not_listen_for_other_machines(tmp_path: Path, listen: str) -> None:
    server = ServerProcess(tmp_path, listen=listen.format(port=free_port()))
    said = server.does_not_start()
    assert "--insecure" in said
    assert "keys create" in said


def test_unless_that_is_meant(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, args=["--insecure"], listen=f"0.0.0.0:{free_port()}") as server:
        assert [event for event in server.log if event["level"] == "warning"], "it says so"


def test_with_a_key_it_does(tmp_path: Path) -> None:
    with KeyedServer(tmp_path, listen=f"0.0.0.0:{free_port()}") as server:
        assert not [event for event in server.log if event["level"] == "warning"]


def test_an_open_server_says_so_and_one_with_keys_does_not(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "keyed").mkdir()
    with ServerProcess(tmp_path / "open") as server:
        warnings = [event for event in server.log if event["level"] == "warning"]
        assert len(warnings) == 1
    with KeyedServer(tmp_path / "keyed") as server:
        assert not [event for event in server.log if event["level"] == "warning"]


async def test_the_first_key_closes_an_open_server_and_revoking_the_last_does_not_open_it(tmp_path: Path) -> None:
    with KeyedServer(tmp_path, with_keys=False) as server:
        async with midstream.connect(server.url) as anyone:
            run = await anyone.start_run("t")
            token = (await anyone.mint_token([can_read(run.id)])).token
            assert await reason_for(server.url, token, run.id) == "OK"
            server.key = server.keys("create", "--name", "backend").strip()
            with pytest.raises(midstream.Unauthenticated):
                while True:
                    await anyone.get_run(run.id)
            # Anybody could have made it.
            assert await reason_for(server.url, token, run.id) == "CREDENTIALS_INVALID"
            async with midstream.connect(server.url, api_key=server.key) as backend:
                assert (await backend.get_run(run.id)).id == run.id
                server.revoke_key(server.key)
                with pytest.raises(midstream.Unauthenticated):
                    while True:
                        await backend.get_run(run.id)
            with pytest.raises(midstream.Unauthenticated):
                await anyone.get_run(run.id)
