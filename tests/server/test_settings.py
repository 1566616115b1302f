"""Settings: flags before environment before defaults, and errors that name the setting."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from midstream_server.settings import SettingError, Settings, load, split_address


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"MIDSTREAM_{field.upper()}", raising=False)


def test_defaults_are_valid_and_durations_become_microseconds() -> None:
    settings = Settings()
    assert settings.listen == "127.0.0.1:7733"
    assert settings.database == Path("midstream.db")
    assert settings.retention == 7 * 24 * 3600 * 1_000_000
    assert settings.cancel_grace == 30_000_000


def test_flag_wins_over_environment_wins_over_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSTREAM_RETENTION", "2h")
    monkeypatch.setenv("MIDSTREAM_MAX_UNREAD_RECORDS", "5")
    settings = load({"retention": "90s"})
    assert settings.retention == 90_000_000
    assert settings.max_unread_records == 5


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Settings(), "listen", "127.0.0.1:1")  # noqa: B010


def test_metrics_listen_may_be_empty() -> None:
    assert load({"metrics_listen": ""}).metrics_listen == ""


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("listen", "nope", "write host:port"),
        ("listen", "", "write host:port"),
        ("listen", "host:70000", "write host:port"),
        ("listen", "::1:80", "brackets"),
        ("metrics_listen", "9464", "write host:port"),
        ("retention", "7", "no duration"),
        ("retention", "-1d", "no duration"),
        ("unheld_expiry", "0s", "greater than 0"),
        ("max_unread_records", "0", "greater than 0"),
        ("max_payload_bytes", "abc", "integer"),
        ("max_payload_bytes", "2000000", "1048576"),
        ("drain_seconds", "nan", "finite"),
        ("drain_seconds", "-1", "greater than or equal to 0"),
        ("log_level", "loud", "'debug', 'info'"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    field: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match=says) as from_flag:
        load({field: value})
    assert str(from_flag.value).startswith(f"--{field.replace('_', '-')}={value!r}: ")
    monkeypatch.setenv(f"MIDSTREAM_{field.upper()}", value)
    with pytest.raises(SettingError, match=says) as from_environment:
        load({})
    assert str(from_environment.value).startswith(f"MIDSTREAM_{field.upper()}={value!r}: ")


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:7733", ("127.0.0.1", 7733)), ("[::1]:0", ("::1", 0)), ("localhost:80", ("localhost", 80))],
)
def test_split_address(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "midstream_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_refuses_wrong_settings_without_a_traceback() -> None:
    ended = _command("--retention", "soon", "--listen", "nope")
    assert ended.returncode == 2
    assert "--retention='soon'" in ended.stderr
    assert "--listen='nope'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_shows_every_setting_with_its_environment_variable() -> None:
    text = _command("--help").stdout
    for field in Settings.model_fields:
        assert f"--{field.replace('_', '-')}" in text
        assert f"MIDSTREAM_{field.upper()}" in text
