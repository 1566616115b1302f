"""The command line against a real server, as people and as programs use it."""

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import midstream
from midstream.cli import main
from support.server_process import ServerProcess

COMMAND = [sys.executable, "-m", "midstream.cli"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("cli")) as process:
        yield process


@pytest.fixture(autouse=True)
def url(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MIDSTREAM_URL", server.url)
    monkeypatch.setenv("TZ", "UTC")
    return server.url


def new_run(task: str = "research-agent", payload: object = None) -> str:
    """An attached run whose process has not come yet."""

    async def create() -> str:
        async with midstream.connect() as client, client.attach(task=task, payload=payload) as run:
            run.detach()
            return run.id

    return asyncio.run(create())


def finished_run(work: Callable[[midstream.AttachedRun], Any], run_id: str | None = None) -> str:
    """A run that `work` has executed to its end, one way or another."""

    async def execute() -> str:
        async with midstream.connect() as client:
            try:
                async with client.attach(run_id, task="research-agent") as run:
                    outcome = work(run)
                    if asyncio.iscoroutine(outcome):
                        await outcome
            except ValueError:
                pass  # what the task raised; the run has recorded it
            return run.id

    return asyncio.run(execute())


def say(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Runs a command, checks its exit code, and returns what it printed where it should."""
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    if code != 0:
        assert shown.out == ""
        return shown.err
    assert shown.err == ""
    assert "\x1b" not in shown.out, "colours belong on a terminal"
    return shown.out


def objects(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


# Runs.


def test_an_empty_server_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ServerProcess(tmp_path) as empty:
        assert say(capsys, "--url", empty.url, "runs", "list") == "There are no runs yet.\n"
        assert say(capsys, "--url", empty.url, "runs", "list", "--state", "failed") == "No run matches.\n"
        assert say(capsys, "--url", empty.url, "runs", "list", "--json") == ""


def test_runs_are_listed_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    older, newer = new_run("listed"), new_run("listed")
    say(capsys, "send", newer, "notes", "1")
    printed = say(capsys, "runs", "list", "--task", "listed").splitlines()
    assert printed[0].split() == ["RUN", "TASK", "STATE", "UNREAD", "CREATED"]
    assert [line.split()[:4] for line in printed[1:]] == [
        [newer, "listed", "RUNNING", "1"],
        [older, "listed", "RUNNING", "0"],
    ]
    shapes = objects(say(capsys, "runs", "list", "--task", "listed", "--json"))
    assert [shape["run_id"] for shape in shapes] == [newer, older]
    assert shapes[0]["streams"][0] == {
        "stream_id": "notes",
        "last_seq": 1,
        "cursor": 0,
        "unread_count": 1,
        "unread_bytes": 1,
    }


def test_runs_are_filtered_and_cut(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [new_run("filtered") for _ in range(3)]
    say(capsys, "cancel", runs[0])
    assert main(["runs", "list", "--task", "filtered", "--limit", "2"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert "more than these 2" in shown.err
    assert say(capsys, "runs", "list", "--task", "filtered", "--state", "completed") == "No run matches.\n"
    listed = objects(say(capsys, "runs", "list", "--task", "filtered", "--state", "RUNNING", "--json"))
    assert {shape["run_id"] for shape in listed} == set(runs)


def test_a_running_run_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run(payload={"topic": "tides"})
    assert "Nothing has been sent to it yet." in say(capsys, "runs", "show", run_id)
    say(capsys, "send", run_id, "notes", "1")
    printed = say(capsys, "runs", "show", run_id)
    for part in (run_id, "RUNNING", "research-agent (attached)", '{"topic": "tides"}', "UNREAD", "created"):
        assert part in printed
    shape = objects(say(capsys, "runs", "show", run_id, "--json"))[0]
    assert shape["payload"] == {"encoding": "json", "value": {"topic": "tides"}}
    assert (shape["result"], shape["failure"], shape["handler_failures"]) == (None, None, [])


def test_a_result_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = finished_run(lambda run: run.finish("# Tides\n\n- They come twice a day."))
    printed = say(capsys, "runs", "show", run_id)
    assert "COMPLETED" in printed
    assert printed.endswith("Result\n# Tides\n\n- They come twice a day.\n")
    shape = objects(say(capsys, "runs", "show", run_id, "--json"))[0]
    assert shape["result"] == {"encoding": "json", "value": "# Tides\n\n- They come twice a day."}


def test_a_failure_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(run: midstream.AttachedRun) -> None:
        raise ValueError("no such topic")

    run_id = finished_run(fail)
    printed = say(capsys, "runs", "show", run_id)
    assert "FAILED" in printed
    assert "ValueError: no such topic" in printed
    failure = objects(say(capsys, "runs", "show", run_id, "--json"))[0]["failure"]
    assert (failure["error_type"], failure["message"]) == ("ValueError", "no such topic")


def test_handler_failures_and_unconsumed_records_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = midstream.input_stream("numbers", int)
    run_id = new_run()
    say(capsys, "send", run_id, "numbers", "7")
    say(capsys, "send", run_id, "unheard", '"hello"')

    async def work(run: midstream.AttachedRun) -> None:
        heard = asyncio.Event()

        def refuse(number: int) -> None:
            heard.set()
            raise ValueError(f"{number} is odd")

        numbers.on(refuse)
        await heard.wait()

    finished_run(work, run_id)
    printed = say(capsys, "runs", "show", run_id)
    for part in ("UNCONSUMED", "1 handler call raised", "numbers #1", "ValueError: 7 is odd"):
        assert part in printed
    shape = objects(say(capsys, "runs", "show", run_id, "--json"))[0]
    assert shape["handler_failure_count"] == 1
    assert shape["handler_failures"][0]["message"] == "7 is odd"
    assert {stream["stream_id"]: stream["unread_count"] for stream in shape["streams"]} == {"numbers": 0, "unheard": 1}


def test_watching_ends_with_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = finished_run(lambda run: run.finish(1))
    assert say(capsys, "runs", "watch", run_id) == "COMPLETED\n"
    assert [shape["state"] for shape in objects(say(capsys, "runs", "watch", run_id, "--json"))] == ["COMPLETED"]


def test_cancelling(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    assert "has been asked to stop" in say(capsys, "cancel", run_id)
    assert objects(say(capsys, "cancel", run_id, "--json"))[0]["cancel_time"] is not None
    done = finished_run(lambda run: run.finish(1))
    assert "had ended before: COMPLETED" in say(capsys, "cancel", done)


# Records.


@pytest.mark.parametrize(
    ("arguments", "encoding", "value"),
    [
        (['{"kind": "wrap-up"}'], "json", {"kind": "wrap-up"}),
        (["null"], "json", None),
        (["false"], "json", False),
        (["0"], "json", 0),
        (['""'], "json", ""),
        (["--", "-5"], "json", -5),
        (["123", "--text"], "json", "123"),
        (["two 🌊 words", "--text"], "json", "two 🌊 words"),
        (["hello", "--raw"], "raw", "aGVsbG8="),
    ],
    ids=str,
)
def test_what_is_sent_can_be_seen(
    arguments: list[str], encoding: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = new_run()
    assert say(capsys, "send", run_id, "notes", *arguments) == "Stored as notes #1.\n"
    shape = objects(say(capsys, "peek", run_id, "notes", "--json"))[0]
    assert (shape["encoding"], shape["value"]) == (encoding, value)
    assert (shape["run_id"], shape["stream_id"], shape["seq"]) == (run_id, "notes", 1)
    assert shape["sender"] == {"kind": "ANONYMOUS", "subject": ""}
    assert objects(say(capsys, "tail", run_id, "--no-follow", "--json")) == [shape]


def test_data_from_a_file_and_from_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = new_run()
    path = tmp_path / "picture"
    path.write_bytes(b"\xff\x00")
    say(capsys, "send", run_id, "photo", "--raw", "--file", str(path))
    assert objects(say(capsys, "peek", run_id, "photo", "--json"))[0]["value"] == "/wA="
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1}\n')))
    receipt = objects(say(capsys, "send", run_id, "notes", "-", "--json"))[0]
    assert receipt.pop("accept_time").endswith("Z")
    assert receipt == {
        "run_id": run_id,
        "stream_id": "notes",
        "seq": 1,
        "offset": 3,
        "deduplicated": False,
        "dropped_count": 0,
    }
    assert '"a": 1' in say(capsys, "peek", run_id, "notes")


def test_a_key_makes_sending_again_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    say(capsys, "send", run_id, "orders", "7", "--key", "order-7")
    assert "Stored before as orders #1" in say(capsys, "send", run_id, "orders", "7", "--key", "order-7")
    refused = say(capsys, "send", run_id, "orders", "8", "--key", "order-7", code=1)
    assert "'order-7' stands for other data already (seq 1)" in refused
    assert "another --key" in refused


def test_an_empty_stream_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    assert say(capsys, "peek", run_id, "notes") == "No unconsumed record on notes.\n"
    assert say(capsys, "peek", run_id, "notes", "--json") == ""
    assert say(capsys, "tail", run_id, "--no-follow") == "No records.\n"
    assert say(capsys, "tail", run_id, "notes", "--no-follow") == "No records on notes.\n"


def test_tail_begins_where_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    for stream in ("a", "b", "a"):
        say(capsys, "send", run_id, stream, "1")
    offsets = [shape["offset"] for shape in objects(say(capsys, "tail", run_id, "--no-follow", "--json"))]
    assert len(offsets) == 3
    tail = say(capsys, "tail", run_id, "--no-follow", "--from-offset", str(offsets[1]))
    assert [line.split()[2:] for line in tail.splitlines()] == [["b", "#1", "1"], ["a", "#2", "1"]]
    only = objects(say(capsys, "tail", run_id, "a", "--no-follow", "--json"))
    assert [(shape["stream_id"], shape["seq"]) for shape in only] == [("a", 1), ("a", 2)]


def test_tail_of_an_ended_run_ends(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    say(capsys, "send", run_id, "notes", "1")
    finished_run(lambda run: run.finish(None), run_id)
    assert len(say(capsys, "tail", run_id).splitlines()) == 1


# What is refused.


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "show"],
        ["runs", "watch"],
        ["cancel"],
        ["tail"],
        ["peek", "...", "notes"],
        ["send", "...", "notes", "1"],
    ],
    ids=" ".join,
)
def test_an_unknown_run_is_explained(command: list[str], url: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run_nobody" if part == "..." else part for part in command]
    if "..." not in command:
        arguments.append("run_nobody")
    refused = say(capsys, *arguments, code=1)
    assert f"there is no run 'run_nobody' at {url}" in refused
    assert "midstream runs list" in refused


def test_an_ended_run_takes_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = finished_run(lambda run: run.finish(1))
    refused = say(capsys, "send", run_id, "notes", "1", code=1)
    assert f"run {run_id} is COMPLETED" in refused
    assert f"midstream runs show {run_id}" in refused


def test_a_malformed_name_and_a_large_payload_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    assert "stream_id" in say(capsys, "send", run_id, "two words", "1", code=1)
    path = tmp_path / "large"
    path.write_bytes(b"x" * (1024 * 1024 + 1))
    refused = say(capsys, "send", run_id, "notes", "--raw", "--file", str(path), code=1)
    assert "1048577 bytes long; the server takes 1048576" in refused


def test_errors_for_programs_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    error = json.loads(say(capsys, "--json", "runs", "show", "run_nobody", code=1))["error"]
    assert error["reason"] == "RUN_NOT_FOUND"


# In a process of its own.


def test_tail_follows_until_it_is_interrupted_and_says_nothing_then(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    say(capsys, "send", run_id, "notes", '"before"')
    with subprocess.Popen(
        [*COMMAND, "tail", run_id, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert json.loads(tail.stdout.readline())["value"] == "before"
        say(capsys, "send", run_id, "notes", '"after"')
        assert json.loads(tail.stdout.readline())["value"] == "after"
        tail.send_signal(signal.SIGINT)
        assert tail.wait() == 130
        assert (tail.stdout.read(), tail.stderr.read()) == ("", "")


def test_tail_and_watch_survive_a_restart_of_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ServerProcess(tmp_path) as mortal:
        monkeypatch.setenv("MIDSTREAM_URL", mortal.url)
        run_id = new_run()
        say(capsys, "send", run_id, "notes", "1")
        with (
            subprocess.Popen([*COMMAND, "tail", run_id, "--json"], stdout=subprocess.PIPE, text=True) as tail,
            subprocess.Popen([*COMMAND, "runs", "watch", run_id, "--json"], stdout=subprocess.PIPE, text=True) as watch,
        ):
            assert tail.stdout is not None
            assert watch.stdout is not None
            assert json.loads(tail.stdout.readline())["seq"] == 1
            assert json.loads(watch.stdout.readline())["state"] == "RUNNING"
            mortal.restart()
            say(capsys, "send", run_id, "notes", "2")
            finished_run(lambda run: run.finish(None), run_id)
            assert [shape["seq"] for shape in objects(tail.stdout.read())] == [2]
            assert objects(watch.stdout.read())[-1]["state"] == "COMPLETED"
            assert (tail.wait(), watch.wait()) == (0, 0)


def test_a_closed_pipe_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run()
    for _ in range(2):
        say(capsys, "send", run_id, "notes", json.dumps("x" * 500_000))
    with subprocess.Popen(
        [*COMMAND, "tail", run_id, "--no-follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stdout.read(10)
        tail.stdout.close()
        assert tail.wait() == 141
        assert tail.stderr.read() == b""


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_colour_unless_told_otherwise(no_color: bool, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = new_run("coloured")
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    reader, writer = pty.openpty()
    with subprocess.Popen([*COMMAND, "runs", "list", "--task", "coloured"], stdout=writer, env=environment) as listing:
        os.close(writer)
        shown = b""
        while chunk := _read(reader):
            shown += chunk
        assert listing.wait() == 0
    os.close(reader)
    assert run_id.encode() in shown
    assert (b"\x1b[32mRUNNING" in shown) is not no_color


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux's way to say that the other side of a terminal has gone.
        return b""
