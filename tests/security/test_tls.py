"""TLS from files: who does not trust whom learns it at once; nothing is served in plaintext."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import midstream
from midstream import Unavailable
from support.certificates import Authority
from support.keyed_server import KeyedServer


def secure(url: str) -> str:
    return url.replace("grpc://", "grpcs://")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[KeyedServer]:
    """Has a certificate of `authority`, and asks for none."""
    server = authority.server()
    env = {"MIDSTREAM_TLS_CERT": str(server.cert_file), "MIDSTREAM_TLS_KEY": str(server.key_file)}
    with KeyedServer(tmp_path_factory.mktemp("tls"), env=env) as process:
        yield process


@pytest.fixture(scope="module")
def mtls(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[KeyedServer]:
    """Also asks clients for a certificate of `authority`."""
    server = authority.server()
    env = {
        "MIDSTREAM_TLS_CERT": str(server.cert_file),
        "MIDSTREAM_TLS_KEY": str(server.key_file),
        "MIDSTREAM_TLS_CLIENT_CA": str(authority.ca_file),
    }
    with KeyedServer(tmp_path_factory.mktemp("mtls"), env=env) as process:
        yield process


async def makes_a_run(client: midstream.Client) -> None:
    async with client:
        run = await client.start_run("t")
        assert (await client.get_run(run.id)).id == run.id


async def test_a_server_with_a_certificate(tls: KeyedServer, authority: Authority) -> None:
    assert tls.url.startswith("grpcs://")
    await makes_a_run(midstream.connect(tls.url, api_key=tls.key, ca_file=authority.ca_file))
    await makes_a_run(
        midstream.connect(tls.url.replace("127.0.0.1", "localhost"), api_key=tls.key, ca_file=authority.ca_file)
    )


async def test_blocking_send_and_the_environment(
    tls: KeyedServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDSTREAM_URL", tls.url)
    monkeypatch.setenv("MIDSTREAM_API_KEY", tls.key)
    monkeypatch.setenv("MIDSTREAM_CA_FILE", str(authority.ca_file))
    async with midstream.connect() as client:
        run = await client.start_run("t")
        assert midstream.send(run.id, "s", 1).seq == 1


async def refused(client: midstream.Client) -> str:
    """What the first call says, at once although the client would retry for a minute."""
    async with client:
        with pytest.raises(Unavailable) as error:
            await client.get_run("run_1")
    return error.value.message


async def test_a_server_that_another_authority_vouches_for(
    tls: KeyedServer, other_authority: Authority, authority: Authority
) -> None:
    for client in (
        midstream.connect(tls.url, api_key=tls.key, ca_file=other_authority.ca_file),
        midstream.connect(tls.url, api_key=tls.key),
    ):
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(client)


async def test_a_client_without_a_certificate_is_not_let_in(
    mtls: KeyedServer, authority: Authority, other_authority: Authority
) -> None:
    mine, foreign = authority.client(), other_authority.client()
    await makes_a_run(
        midstream.connect(
            mtls.url,
            api_key=mtls.key,
            ca_file=authority.ca_file,
            cert_file=mine.cert_file,
            key_file=mine.key_file,
        )
    )
    for cert_file, key_file in ((None, None), (foreign.cert_file, foreign.key_file)):
        client = midstream.connect(
            mtls.url,
            api_key=mtls.key,
            ca_file=authority.ca_file,
            cert_file=cert_file,
            key_file=key_file,
            retry_timeout="500ms",
        )
        await refused(client)
    # The certificate alone does not do either.
    client = midstream.connect(mtls.url, ca_file=authority.ca_file, cert_file=mine.cert_file, key_file=mine.key_file)
    async with client:
        with pytest.raises(midstream.Unauthenticated):
            await client.get_run("run_1")


async def test_a_plaintext_client_on_a_tls_port(tls: KeyedServer) -> None:
    plain = tls.url.replace("grpcs://", "grpc://")
    await refused(midstream.connect(plain, api_key=tls.key, retry_timeout="500ms"))


async def test_a_tls_client_on_a_plaintext_port(keyed: KeyedServer, authority: Authority) -> None:
    client = midstream.connect(secure(keyed.url), api_key=keyed.key, ca_file=authority.ca_file)
    assert "WRONG_VERSION_NUMBER" in await refused(client)


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_a_server_does_not_start_with_files_that_do_not_work(tmp_path: Path, authority: Authority, broken: str) -> None:
    files = authority.server()
    bad = tmp_path / "bad.pem"
    bad.write_text("-----BEGIN NONSENSE-----\n")
    env = {
        "MIDSTREAM_TLS_CERT": str(bad if broken == "cert" else files.cert_file),
        "MIDSTREAM_TLS_KEY": str(bad if broken == "key" else files.key_file),
    }
    assert str(bad) in KeyedServer(tmp_path, env=env).does_not_start()
