"""Output streams on the command line."""

import asyncio
import json
from pathlib import Path

import pytest

import midstream
from midstream import Context, output, task
from midstream.cli import main
from midstream.worker.in_process import in_process_worker
from support.server_process import ServerProcess

executions = 0


async def answer() -> None:
    global executions
    executions += 1
    for letter in "abc":
        output("tokens").append(letter)
        if letter == "b" and executions == 1:
            raise OSError("broken off")


@task("answers")
async def answers(ctx: Context) -> None:
    ctx.output("status").append({"at": 1})
    await ctx.step(answer, retry=2)


@pytest.fixture(scope="module")
def run_id(tmp_path_factory: pytest.TempPathFactory) -> object:
    directory: Path = tmp_path_factory.mktemp("outputs")
    with ServerProcess(directory) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDSTREAM_URL", server.url)
        yield asyncio.run(ended_run())


async def ended_run() -> str:
    async with midstream.connect() as client, in_process_worker(client, [answers]):
        run = await client.start_run("answers")
        async for _ in client.watch_run(run.id):
            pass
        return run.id


def say(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def words(text: str) -> list[list[str]]:
    """Without offset and time."""
    return [line.split()[2:] for line in text.splitlines()]


def test_tail_of_an_output_stream_shows_what_was_taken_back(run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words(say(capsys, "tail", run_id, "--output", "tokens")) == [
        ["tokens", "#1", '"a"'],
        ["tokens", "#2", '"b"'],
        ["tokens", "#3", *["its", "step", "runs", "again:", "#1", "to", "#2", "do", "not", "count"]],
        ["tokens", "#4", '"a"'],
        ["tokens", "#5", '"b"'],
        ["tokens", "#6", '"c"'],
    ]


def test_without_following_only_what_counts_is_shown(run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = words(say(capsys, "tail", run_id, "--outputs", "--no-follow"))
    assert [line[:2] for line in shown] == [["status", "#1"], ["tokens", "#4"], ["tokens", "#5"], ["tokens", "#6"]]
    assert say(capsys, "tail", run_id, "--no-follow") == "No records.\n"
    assert say(capsys, "tail", run_id, "--output", "none", "--no-follow") == "No records on none.\n"
    assert len(say(capsys, "tail", run_id, "--outputs", "--no-follow", "--from-offset", "7").splitlines()) == 1


def test_json(run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = [json.loads(line) for line in say(capsys, "tail", run_id, "--output", "tokens", "--json").splitlines()]
    assert [shape["direction"] for shape in shapes] == ["OUTPUT"] * 6
    assert shapes[2]["rewound"] == [{"first_seq": 1, "last_seq": 2}]
    assert "value" not in shapes[2]
    assert json.loads(say(capsys, "runs", "show", run_id, "--json"))["outputs"] == [
        {"stream_id": "status", "last_seq": 1},
        {"stream_id": "tokens", "last_seq": 6},
    ]


def test_a_run_shows_its_output_streams(run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in say(capsys, "runs", "show", run_id, "--no-log").splitlines()]
    assert ["status", "1"] in lines
    assert ["tokens", "6"] in lines


def test_inputs_and_outputs_exclude_each_other(run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "exclude each other" in say(capsys, "tail", run_id, "notes", "--output", "tokens", code=2)
