"""Server URLs: every accepted form, and errors that say what is wrong."""

import pytest

from midstream import url


@pytest.mark.parametrize(
    ("text", "target", "tls"),
    [
        ("grpc://127.0.0.1:7733", "127.0.0.1:7733", False),
        ("grpcs://midstream.example.com:443", "midstream.example.com:443", True),
        ("localhost:9000", "localhost:9000", False),
        ("localhost", "localhost:7733", False),
        ("grpc://[::1]:7733", "[::1]:7733", False),
        ("[::1]:7733", "[::1]:7733", False),
        ("grpc://server:1/", "server:1", False),
    ],
)
def test_accepted(text: str, target: str, tls: bool) -> None:
    address = url.parse(text)
    assert (address.target, address.tls) == (target, tls)
    assert url.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no host"),
        ("grpc://", "no host"),
        ("http://localhost:7733", "'http'"),
        ("grpc://localhost:port", "port"),
        ("grpc://localhost:99999", "range"),
        ("grpc://localhost:0", "port 0"),
        ("grpc://localhost:7733/v1", "'v1'"),
        ("grpc://user:secret@localhost:7733", "no meaning"),
        ("grpc://localhost:7733?x=1", "'x=1'"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        url.parse(text)
    assert "grpc://host:port" in str(caught.value)


def test_an_argument_wins_over_the_environment_and_that_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIDSTREAM_URL", raising=False)
    assert str(url.resolve()) == "grpc://127.0.0.1:7733"
    monkeypatch.setenv("MIDSTREAM_URL", "grpc://elsewhere:1")
    assert str(url.resolve()) == "grpc://elsewhere:1"
    assert str(url.resolve("here:2")) == "grpc://here:2"


def test_a_bad_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSTREAM_URL", "ftp://x")
    with pytest.raises(ValueError, match="MIDSTREAM_URL"):
        url.resolve()
