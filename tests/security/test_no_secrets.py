"""No key and no token in anything that the server, the worker and the command line write, whatever happens."""

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

import midstream
from midstream import can_read, can_send
from midstream.cli import main
from support.keyed_server import KeyedServer, reason_for
from support.worker_process import WorkerProcess

MODULE = """
import os
import midstream

@midstream.task("calls")
async def calls(ctx, payload):
    async def send():
        async with midstream.connect() as client:
            await client.send(payload["run_id"], "from-a-step", 1)
    await ctx.step(send)
    raise RuntimeError("the task fails")
"""


def parts_of(*secrets: str) -> set[str]:
    """The secrets, and those of their parts that are secret by themselves."""
    return {
        part
        for secret in secrets
        for part in (secret, secret.split("_", 2)[-1] if secret.startswith("midstream_") else secret.rpartition(".")[2])
    }


def read(url: str) -> str:
    with urllib.request.urlopen(url) as response:
        return str(response.read())


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_logs_of_server_and_worker(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(MODULE)
    with KeyedServer(tmp_path, args=["--log-level", "debug"]) as server:
        secrets = [server.key, server.other_key]
        leaving = server.create_key("leaving")
        secrets.append(leaving)
        with WorkerProcess(server.url, tmp_path, "agent", env={"MIDSTREAM_API_KEY": leaving}) as worker:
            async with midstream.connect(server.url, api_key=server.key) as backend:
                target = await backend.start_run("nobody-executes-it")
                run = await backend.start_run("calls", {"run_id": target.id})
                async for seen in backend.watch_run(run.id):
                    run = seen
                assert run.state == midstream.RunState.FAILED
                assert [record.stream_id async for record in backend.list_records(target.id)] == ["from-a-step"]

                minted = await backend.mint_token([can_send(target.id), can_read(target.id)], max_uses=1)
                signed = midstream.sign_token(server.key, [can_read(target.id)])
                tampered = f"{signed.token}AAAA"
                secrets += [minted.token, signed.token, tampered]
                for secret in secrets:
                    await reason_for(server.url, secret, target.id)
                midstream.send(target.id, "s", 1, url=server.url, access_token=minted.token)
                with pytest.raises(midstream.PermissionDenied):
                    midstream.send(target.id, "s", 1, url=server.url, access_token=minted.token)
                await backend.revoke_token(signed.token)
                assert await reason_for(server.url, signed.token, target.id) == "TOKEN_REVOKED"
            server.revoke_key(leaving)
            # Refused for good, it ends, and says why.
            assert worker.wait() == 1
        metrics = await asyncio.to_thread(read, server.metrics_url)
        listed = server.keys("list")
        server.terminate()
    written = [
        json.dumps(server.log),
        server.stderr_path.read_text(),
        json.dumps(worker.events),
        metrics,
        listed,
        repr(minted),
    ]
    assert any(event["event"] == "call_refused" for event in server.log)
    assert any("MIDSTREAM_API_KEY" in line for line in worker.printed())
    for part in parts_of(*secrets):
        assert len(part) >= 40
        assert not [text for text in written if part in text]


def test_the_database_holds_no_secret(tmp_path: Path) -> None:
    with KeyedServer(tmp_path) as server:
        run = midstream.sign_token(server.key, [can_send("r")], max_uses=1)
        with pytest.raises(midstream.RunNotFound):
            midstream.send("r", "s", 1, url=server.url, access_token=run.token)
        server.kill9()
        files = [path.read_bytes() for path in tmp_path.glob("midstream.db*")]
    for part in parts_of(server.key, server.other_key, run.token):
        assert not [data for data in files if part.encode() in data]


def test_the_command_line_asks_for_no_secret_and_shows_none(
    keyed: KeyedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDSTREAM_URL", keyed.url)
    monkeypatch.setenv("MIDSTREAM_API_KEY", f"{keyed.key}x")
    assert main(["runs", "list"]) == 1
    shown = capsys.readouterr()
    assert "MIDSTREAM_API_KEY" in shown.err
    assert not [part for part in parts_of(keyed.key) if part in shown.out + shown.err]


def test_tokens_from_the_command_line(
    keyed: KeyedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(*arguments: str, code: int = 0) -> str:
        assert main(arguments) == code
        shown = capsys.readouterr()
        return shown.out if code == 0 else shown.err

    monkeypatch.setenv("MIDSTREAM_URL", keyed.url)
    monkeypatch.setenv("MIDSTREAM_API_KEY", keyed.key)
    monkeypatch.setenv("TZ", "UTC")

    async def start() -> str:
        async with midstream.connect() as client:
            return (await client.start_run("t")).id

    run_id = asyncio.run(start())
    token = say(
        "token", "mint", "--send", f"{run_id}/a", "--read", run_id, "--subject", "user-17", "--ttl", "10m"
    ).strip()
    shape = json.loads(say("token", "mint", "--cancel", run_id, "--max-uses", "1", "--json"))
    assert shape["scopes"] == [f"cancel:{run_id}"]

    monkeypatch.delenv("MIDSTREAM_API_KEY")
    assert "MIDSTREAM_API_KEY" in say("runs", "list", code=1)
    monkeypatch.setenv("MIDSTREAM_ACCESS_TOKEN", token)
    say("send", run_id, "a", "1")
    assert f"send:{run_id}/b" in say("send", run_id, "b", "1", code=1)
    assert "user-17" in say("tail", run_id, "--no-follow")
    assert "user-17" in say("runs", "show", run_id)

    monkeypatch.delenv("MIDSTREAM_ACCESS_TOKEN")
    monkeypatch.setenv("MIDSTREAM_API_KEY", keyed.key)
    say("token", "revoke", token)
    monkeypatch.delenv("MIDSTREAM_API_KEY")
    monkeypatch.setenv("MIDSTREAM_ACCESS_TOKEN", token)
    assert "revoked" in say("tail", run_id, code=1)
