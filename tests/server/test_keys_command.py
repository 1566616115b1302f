"""`midstream-server keys`, and on which addresses a server listens without any."""

import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from midstream_server import cli
from midstream_server.domain.api_key import key_id_of
from midstream_server.listening import exposed, is_loopback
from midstream_server.server import Server, StartError
from midstream_server.settings import Settings
from support.calls import attach, reason_of
from support.credentials import calling
from support.server_process import ServerProcess


def keys(database: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "midstream_server", "keys", *arguments, "--database", str(database)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def created(database: Path, *arguments: str) -> str:
    """The new key."""
    done = keys(database, "create", *arguments)
    assert done.returncode == 0, done.stderr
    assert "shown this once" in done.stderr
    return done.stdout.strip()


def test_keys_are_created_listed_and_revoked(tmp_path: Path) -> None:
    database = tmp_path / "new.db"
    first = created(database, "--name", "backend")
    second = created(database, "--name", "worker", "--namespace", "acme")
    key_id = key_id_of(first)
    assert key_id is not None
    assert key_id_of(second) is not None
    assert keys(database, "revoke", key_id).returncode == 0
    listed = keys(database, "list").stdout
    assert re.search(rf"{key_id} +default +backend +\S+Z +\S+Z\n", listed)
    assert re.search(r"acme +worker +\S+Z\n", listed)
    for text in (first, second):
        secret = text.rpartition("_")[2]
        assert secret not in listed
        assert not any(secret.encode() in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["revoke", "nosuchkey"], 1, "no API key 'nosuchkey'"),
        (["create"], 2, "--name"),
        (["create", "--name", ""], 2, "--name: is required"),
        (["create", "--name", "a b"], 2, "is not a name"),
        (["create", "--name", "a", "--namespace", "a/b"], 2, "--namespace"),
        ([], 2, "create"),
        (["drop"], 2, "drop"),
    ],
)
def test_what_the_command_refuses(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    done = keys(tmp_path / "midstream.db", *arguments) if arguments else keys(tmp_path / "midstream.db")
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 10_000)
    done = keys(tmp_path / "text", "list")
    assert done.returncode == 1
    assert "not an intact SQLite database" in done.stderr


async def test_a_running_server_notices_what_the_command_does(server_process: ServerProcess) -> None:
    database = server_process.database
    assert server_process.events("server_is_open")
    key = created(database, "--name", "backend")
    async with calling(server_process.url) as nobody, calling(server_process.url, key) as backend:
        await attach(backend.stubs)
        assert await reason_of(attach(nobody.stubs)) == "CREDENTIALS_MISSING"
        assert keys(database, "revoke", key_id_of(key) or "").returncode == 0
        while (reason := await outcome(attach(backend.stubs))) == "OK":
            pass
        assert reason == "CREDENTIALS_INVALID"
    server_process.restart()
    assert len(server_process.events("server_is_open")) == 1
    assert key.rpartition("_")[2] not in str(server_process.log)


async def outcome(call: object) -> str:
    try:
        return await reason_of(call)  # type: ignore[arg-type]
    except AssertionError:
        return "OK"


def test_many_at_once_come_to_a_new_database(tmp_path: Path) -> None:
    database = tmp_path / "new.db"
    threads = [threading.Thread(target=created, args=(database, "--name", f"n{number}")) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys(database, "list").stdout.splitlines()) == 6


def test_main_gives_the_command_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSTREAM_DATABASE", str(tmp_path / "by-environment.db"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["keys", "create", "--name", "backend"])
    assert ended.value.code == 0
    with sqlite3.connect(tmp_path / "by-environment.db") as connection:
        assert connection.execute("SELECT name FROM api_keys").fetchall() == [("backend",)]
    connection.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.0.1:1", False),
        ("localhost.example.com:1", False),
        ("example.com:1", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize("setting", ["listen", "web_listen"])
async def test_a_server_without_keys_does_not_open_itself_to_a_network(settings: Settings, setting: str) -> None:
    settings = settings.model_copy(update={setting: "0.0.0.0:0"})
    flag = setting.replace("_", "-")
    with pytest.raises(StartError, match=rf"--{flag} 0\.0\.0\.0:0 can be reached .* keys create .* --insecure"):
        await Server(settings).start()
    assert exposed(settings) == [f"--{flag} 0.0.0.0:0"]
    async with Server(settings.model_copy(update={"insecure": True})) as server, calling(server.url) as anybody:
        await attach(anybody.stubs)
    key = created(settings.database, "--name", "backend")
    async with Server(settings) as server, calling(server.url) as nobody, calling(server.url, key) as backend:
        assert await reason_of(attach(nobody.stubs)) == "CREDENTIALS_MISSING"
        await attach(backend.stubs)
