"""The command line without a server: help, wrong usage, nobody there."""

import json
from pathlib import Path

import pytest

from midstream.cli import main

NOBODY = "grpc://127.0.0.1:1"
COMMANDS = [
    [],
    ["runs"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "watch"],
    ["send"],
    ["peek"],
    ["tail"],
    ["cancel"],
    ["token"],
    ["token", "mint"],
    ["token", "revoke"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert " ".join(["Usage: midstream", *command]) in shown
    assert "Example" in shown
    assert "--json" in shown
    assert "--url" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("midstream ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send", "run_1", "notes"], "Nothing to send"),
        (["send", "run_1", "notes", "hello"], "hello --text"),
        (["send", "run_1", "notes", "1", "--file", __file__], "not both"),
        (["send", "run_1", "notes", "--file", "/no/such/file"], "does not exist"),
        (["runs", "list", "--state", "sleeping"], "sleeping"),
        (["runs", "list", "--limit", "0"], "--limit"),
        (["tail", "run_1", "--from-offset", "0"], "--from-offset"),
        (["token", "mint"], "may do nothing"),
        (["token", "mint", "--read", "run_1", "--ttl", "soon"], "--ttl"),
        (["token", "mint", "--read", "run_1", "--max-uses", "0"], "--max-uses"),
        (["runs", "list", "--ca-file", "/no/such/file"], "does not exist"),
        (["--url", "grpc://server:1", "--ca-file", __file__, "runs", "list"], "grpcs://server:1"),
        (["dance"], "dance"),
        (["--url", "http://somewhere", "runs", "list"], "http"),
        (["--retry-for", "soon", "runs", "list"], "soon"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_explained(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "Traceback" not in shown.err


def test_bytes_that_are_no_text_need_raw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(b"\xff\xd8")
    assert main(["send", "run_1", "photo", "--file", str(picture)]) == 2
    assert "--raw" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["runs", "list"],
        ["runs", "show", "run_1"],
        ["runs", "watch", "run_1"],
        ["send", "run_1", "notes", "1"],
        ["peek", "run_1", "notes"],
        ["tail", "run_1"],
        ["cancel", "run_1"],
        ["token", "mint", "--read", "run_1"],
        ["token", "revoke", "id"],
    ],
    ids=" ".join,
)
def test_where_no_server_answers_it_says_so_and_how_to_start_one(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--url", NOBODY, "--retry-for", "1ms"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert NOBODY in shown.err
    assert "midstream-server" in shown.err


def test_errors_are_json_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", "--json", "--url", NOBODY, "--retry-for", "1ms"]) == 1
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["reason"] == "UNAVAILABLE"
    assert set(error) == {"reason", "message", "fix"}


@pytest.mark.parametrize("place", ["before", "behind"])
def test_options_of_all_commands_stand_before_or_behind(
    place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDSTREAM_URL", "grpc://127.0.0.1:2")  # must not win
    options = ["--url", NOBODY, "--json", "--retry-for", "1ms"]
    command = ["runs", "list"]
    assert main([*options, *command] if place == "before" else [*command, *options]) == 1
    assert NOBODY in json.loads(capsys.readouterr().err)["error"]["message"]


def test_the_url_comes_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDSTREAM_URL", NOBODY)
    assert main(["runs", "list", "--retry-for", "1ms"]) == 1
    assert NOBODY in capsys.readouterr().err


@pytest.mark.parametrize("command", [["runs", "list"], ["worker", "agent"]], ids=" ".join)
def test_a_secret_does_not_leave_the_machine_in_plaintext(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDSTREAM_API_KEY", "midstream_abcdefghijkl_secret")
    assert main([*command, "--url", "grpc://server.example.com:7733"]) == 2
    shown = capsys.readouterr()
    assert "grpcs://server.example.com:7733" in shown.err
    assert "secret" not in shown.out + shown.err
