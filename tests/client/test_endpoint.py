"""A server, and as whom to call it: what comes from where, and which combinations are refused."""

from pathlib import Path

import pytest

import midstream
from midstream import endpoint

KEY = "midstream_abcdefghijkl_" + "S" * 43
TOKEN = "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"


def test_what_is_not_given_comes_from_the_environment() -> None:
    variables = {"MIDSTREAM_API_KEY": KEY, "MIDSTREAM_ACCESS_TOKEN": ""}
    assert endpoint.resolve("127.0.0.1", environment=variables).api_key == KEY
    assert endpoint.resolve("127.0.0.1", api_key="midstream_x_y", environment=variables).api_key == "midstream_x_y"


def test_credentials_that_are_given_stand_alone() -> None:
    where = endpoint.resolve("127.0.0.1", access_token=TOKEN, environment={"MIDSTREAM_API_KEY": KEY})
    assert (where.api_key, where.access_token) == (None, TOKEN)


def test_a_key_and_a_token_together_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="api_key and access_token"):
        midstream.connect(api_key=KEY, access_token=TOKEN)
    with pytest.raises(ValueError, match="MIDSTREAM_API_KEY and MIDSTREAM_ACCESS_TOKEN"):
        endpoint.resolve(environment={"MIDSTREAM_API_KEY": KEY, "MIDSTREAM_ACCESS_TOKEN": TOKEN})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "midstream.localhost"])
def test_a_secret_may_go_to_this_machine_in_plaintext(host: str) -> None:
    assert endpoint.resolve(f"grpc://{host}:1", api_key=KEY, environment={}).api_key == KEY


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "server", "0.0.0.0", "[2001:db8::1]", "localhost.example.com", "1.127.0.0"]
)
def test_a_secret_does_not_go_to_another_machine_in_plaintext(host: str) -> None:
    for credentials in ({"api_key": KEY}, {"access_token": TOKEN}, {"access_token": lambda: TOKEN}):
        with pytest.raises(ValueError, match="not encrypted") as refused:
            endpoint.resolve(f"grpc://{host}:1", environment={}, **credentials)
        said = str(refused.value)
        assert f"grpcs://{host}:1" in said
        assert "insecure=True" in said
        assert KEY not in said
        assert TOKEN not in said
    with pytest.raises(ValueError, match="not encrypted"):
        endpoint.resolve(f"grpc://{host}:1", environment={"MIDSTREAM_API_KEY": KEY})


def test_unless_that_is_meant_or_encrypted_or_there_is_no_secret() -> None:
    assert endpoint.resolve("grpc://server:1", api_key=KEY, insecure=True, environment={}).insecure
    assert endpoint.resolve("grpc://server:1", api_key=KEY, environment={"MIDSTREAM_INSECURE": "1"}).insecure
    assert endpoint.resolve("grpcs://server:1", api_key=KEY, environment={}).api_key == KEY
    assert endpoint.resolve("grpc://server:1", environment={}).api_key is None
    with pytest.raises(ValueError, match="not encrypted"):
        endpoint.resolve("grpc://server:1", api_key=KEY, insecure=False, environment={"MIDSTREAM_INSECURE": "1"})


def test_no_repr_and_no_error_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    where = endpoint.resolve("127.0.0.1", api_key=KEY, environment={})
    monkeypatch.setenv("MIDSTREAM_API_KEY", KEY)
    client = midstream.connect("127.0.0.1")
    for shown in (repr(where), str(where), repr(client), repr(vars(client)), repr(client._connection.endpoint)):
        assert "SSSS" not in shown
    for bad in (f"{KEY}\n", f" {KEY}", f"{KEY}é", f"Bearer {KEY}"):
        with pytest.raises(ValueError, match="the API key has a space") as refused:
            midstream.connect("127.0.0.1", api_key=bad)
        assert "SSSS" not in str(refused.value)
    with pytest.raises(ValueError, match="the API key is empty"):
        midstream.connect("127.0.0.1", api_key="")


def test_tls_files(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("not looked into")
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    variables = {"MIDSTREAM_CA_FILE": ca, "MIDSTREAM_CERT_FILE": cert, "MIDSTREAM_KEY_FILE": key}
    where = endpoint.resolve("grpcs://server", environment=variables)
    assert (where.ca_file, where.cert_file, where.key_file) == (ca, cert, key)
    assert endpoint.resolve("grpcs://server", ca_file=Path(cert), environment=variables).ca_file == cert
    # Those of the environment are for another server perhaps; those that were given are for this one.
    assert endpoint.resolve("grpc://127.0.0.1", environment=variables).ca_file is None
    with pytest.raises(ValueError, match=r"ca_file: of no use with grpc://127.*write grpcs://127"):
        endpoint.resolve("grpc://127.0.0.1", ca_file=ca, environment={})
    with pytest.raises(ValueError, match=r"key_file is missing \(MIDSTREAM_KEY_FILE\)"):
        endpoint.resolve("grpcs://server", cert_file=cert, environment={})
    with pytest.raises(ValueError, match=r"ca_file: cannot read '/no/such': No such file"):
        endpoint.resolve("grpcs://server", ca_file="/no/such", environment={})


def test_another_process_finds_the_same_endpoint(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    where = endpoint.resolve("grpcs://server:9", api_key=KEY, ca_file=ca, insecure=True, environment={})
    variables = where.environment()
    assert endpoint.resolve(variables["MIDSTREAM_URL"], environment=variables) == where
