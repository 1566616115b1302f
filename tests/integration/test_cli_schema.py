"""`midstream schema` and a worker's --push-schemas, against a real server."""

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import midstream
from acme.v1.agent_pb2 import UserMessage
from midstream import input_stream
from midstream.cli import main
from midstream.cli.proto_text import proto_text
from midstream.schema_request import request_for
from support.server_process import ServerProcess
from support.worker_process import WorkerProcess

ROOT = Path(__file__).resolve().parents[2]

STREAMS = """
    from pydantic import BaseModel, Field
    from acme.v1.agent_pb2 import Budget, UserMessage
    import midstream

    class Approval(BaseModel):
        approved: bool
        note: str = Field(default="", max_length=10)

    user_message = midstream.input_stream(UserMessage)
    budget = midstream.input_stream(Budget)
    approval = midstream.input_stream("approval", Approval)
    untyped = midstream.input_stream("anything")
"""

TASKS = """
    import midstream
    from acme_streams import user_message

    @midstream.task("agent")
    async def agent(ctx: midstream.Context) -> str:
        return (await user_message.wait()).unwrap().text
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerProcess]:
    for name, source in (("acme_streams", STREAMS), ("acme_tasks", TASKS)):
        (tmp_path / f"{name}.py").write_text(inspect.cleandoc(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "server").mkdir()
    with ServerProcess(tmp_path / "server") as process:
        monkeypatch.setenv("MIDSTREAM_URL", process.url)
        yield process


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_a_module_declares_is_registered_once(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "list"]) == 0
    assert "No schema is registered" in capsys.readouterr().out
    assert main(["schema", "push", "acme_streams", "--dry-run"]) == 0
    assert "would be registered" in capsys.readouterr().out
    assert main(["schema", "list", "--json"]) == 0
    assert lines(capsys) == []

    assert main(["schema", "push", "acme_streams", "--json"]) == 0
    pushed = [(each["stream_id"], each["version"], each["created"]) for each in lines(capsys)]
    assert pushed == [("approval", 1, True), ("budget", 1, True), ("user-message", 1, True)]
    assert main(["schema", "push", "acme_streams:approval", "--json"]) == 0
    assert [(each["stream_id"], each["created"]) for each in lines(capsys)] == [("approval", False)]

    assert main(["schema", "list"]) == 0
    shown = capsys.readouterr().out
    assert "acme.v1.UserMessage  payload up to 8,192 bytes" in shown
    assert "up to 1 unread, the oldest make room, backends only" in shown
    assert main(["schema", "show", "approval", "--json"]) == 0
    (approval,) = lines(capsys)
    assert approval["json_schema"]["properties"]["note"]["maxLength"] == 10
    assert main(["schema", "show", "user-message"]) == 0
    shown = capsys.readouterr().out
    assert "message UserMessage {" in shown
    assert "string text = 2 [(buf.validate.field) = {string { min_len: 1 max_len: 4000 }}];" in shown


def test_a_descriptor_set_and_a_json_schema_come_from_files(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.binpb").write_bytes(request_for([input_stream(UserMessage)]).file_descriptor_set)
    (tmp_path / "level.json").write_text('{"type": "integer", "maximum": 10}')
    files = ["agent.binpb", "--stream", "level", "--json-schema", "level.json"]
    assert main(["schema", "push", *files, "--json"]) == 0
    assert [each["stream_id"] for each in lines(capsys)] == ["budget", "level", "user-message"]


def test_what_breaks_others_needs_force(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "push", "acme_streams"]) == 0
    (tmp_path / "other_streams.py").write_text('import midstream\nm = midstream.input_stream("user-message", int)\n')
    capsys.readouterr()
    assert main(["schema", "push", "other_streams"]) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["schema", "push", "other_streams", "--force"]) == 0
    assert "version 2 is registered: JSON Schema" in capsys.readouterr().out
    assert main(["schema", "list", "user-message", "--json"]) == 0
    assert [each["version"] for each in lines(capsys)] == [1, 2]


def test_streams_without_a_schema_can_be_refused(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "settings", "--undeclared", "refuse", "--json"]) == 0
    assert main(["schema", "settings", "--json"]) == 0
    assert lines(capsys) == [{"undeclared": "refuse"}] * 2
    assert main(["schema", "settings", "--undeclared", "accept"]) == 0
    assert "stored as they are" in capsys.readouterr().out


def test_a_run_is_shown_with_messages_as_json(server: ServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "push", "acme_streams"]) == 0

    async def start() -> None:
        async with midstream.connect() as client:
            await client.start_run("agent", run_id="run_shown")

    asyncio.run(start())
    assert main(["send", "run_shown", "user-message", '{"kind": "KIND_WRAP_UP", "text": "that will do"}']) == 0
    capsys.readouterr()
    for command in (["runs", "show"], ["tail", "--no-follow"], ["tail", "--no-follow", "--json"]):
        assert main([*command, "run_shown"]) == 0
        assert '"text": "that will do"' in capsys.readouterr().out.replace('":"', '": "')
    assert main(["peek", "run_shown", "user-message", "--json"]) == 0
    (peeked,) = lines(capsys)
    assert (peeked["encoding"], peeked["schema_version"]) == ("json", 1)
    assert peeked["value"] == {"kind": "KIND_WRAP_UP", "text": "that will do"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["schema", "show", "nothing"], "nothing"),
        (["schema", "show", "approval", "--version", "7"], "7"),
    ],
)
def test_a_schema_that_is_not_there_is_named(
    server: ServerProcess, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "push", "acme_streams"]) == 0
    assert main(arguments) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Name a module"),
        (["--stream", "level"], "go together"),
        (["no_such_module"], "neither a file nor a module"),
        (["acme_streams:nothing"], "has no stream 'nothing'. Streams in it: approval"),
        (["json"], "declares no stream"),
        (["acme_streams:untyped"], "no schema to register"),
    ],
)
def test_a_source_that_has_nothing_is_explained(
    server: ServerProcess, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "push", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_worker_registers_what_its_modules_declare_and_nothing_else(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with WorkerProcess(server.url, tmp_path, "acme_tasks", args=["--push-schemas"]).start() as worker:
        worker.wait_for("connected")
        pushed = [event["stream_id"] for event in worker.events if event["event"] == "schema_registered"]
    assert pushed == ["approval", "budget", "user-message"]


def test_a_worker_whose_types_break_others_does_not_start(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.py").write_text('import midstream\nm = midstream.input_stream("user-message", int)\n')
    assert main(["schema", "push", "other"]) == 0
    worker = WorkerProcess(server.url, tmp_path, "acme_tasks", args=["--push-schemas"]).start()
    assert worker.wait() == 1
    assert any("cannot read what version 1 could write" in line for line in worker.printed())


def test_protoc_finds_what_declarations_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "include"]) == 0
    flag = capsys.readouterr().out.strip()
    folder = Path(flag.removeprefix("-I"))
    for name, source in (
        ("midstream/v1/input_stream.proto", ROOT / "proto"),
        ("buf/validate/validate.proto", ROOT / "third_party/protovalidate"),
    ):
        assert (folder / name).read_bytes() == (source / name).read_bytes()


def test_types_are_shown_as_buf_would_read_them(tmp_path: Path) -> None:
    """What is printed is a .proto file again, but for its imports."""
    text = proto_text(request_for([input_stream(UserMessage)]).file_descriptor_set)
    imports = ("buf/validate/validate.proto", "google/protobuf/timestamp.proto", "midstream/v1/input_stream.proto")
    head = 'syntax = "proto3";\npackage acme.v1;\n' + "".join(f'import "{name}";\n' for name in imports)
    (tmp_path / "shown.proto").write_text(head + text)
    (tmp_path / "buf.yaml").write_text("version: v2\n")
    for name, source in ((imports[0], ROOT / "third_party/protovalidate"), (imports[2], ROOT / "proto")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes((source / name).read_bytes())
    build = (str(Path(sys.executable).parent / "buf"), "build", "-o", "/dev/null")
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr + text
