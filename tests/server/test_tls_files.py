"""TLS and mTLS from files, on the gRPC listener and on the web listener."""

import shutil
import ssl
from pathlib import Path

import grpc
import httpx
import pytest

from midstream.v1.run_service_pb2 import ListRunsRequest
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream_server.server import Server, StartError
from midstream_server.settings import SettingError, Settings, load
from support.certificates import Authority, Certificate

CERT, KEY, CLIENT_CA = "cert.pem", "key.pem", "clients.pem"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "clients-authority")


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, authority: Authority) -> Settings:
    """With a certificate for both listeners."""
    put(tmp_path, authority.server())
    cert, key = tmp_path / CERT, tmp_path / KEY
    update = {"tls_cert": cert, "tls_key": key, "web_tls_cert": cert, "web_tls_key": key, "web_listen": "127.0.0.1:0"}
    return settings.model_copy(update=update)


@pytest.fixture
def mutual(settings: Settings, tmp_path: Path, clients: Authority) -> Settings:
    """Clients must have certificates too."""
    path = Path(shutil.copy(clients.ca_file, tmp_path / CLIENT_CA))
    return settings.model_copy(update={"tls_client_ca": path, "web_tls_client_ca": path})


def put(directory: Path, certificate: Certificate) -> None:
    """Where the server looks for it."""
    shutil.copy(certificate.cert_file, directory / CERT)
    shutil.copy(certificate.key_file, directory / KEY)


async def code_of_call(server: Server, trusted: Authority, client: Certificate | None = None) -> str:
    """The code with which a call over a connection of its own ends."""
    key, cert = (None, None) if client is None else (client.key_file.read_bytes(), client.cert_file.read_bytes())
    credentials = grpc.ssl_channel_credentials(trusted.ca_file.read_bytes(), key, cert)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(server.url.removeprefix("grpcs://"), credentials, options) as channel:
        try:
            await RunServiceStub(channel).ListRuns(ListRunsRequest(), timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return "OK"


async def status_on_the_web(server: Server, trusted: Authority, client: Certificate | None = None) -> int:
    context = ssl.create_default_context(cafile=trusted.ca_file)
    if client is not None:
        context.load_cert_chain(client.cert_file, client.key_file)
    async with httpx.AsyncClient(verify=context) as page:
        response = await page.post(f"{server.web_url}/midstream.v1.RunService/ListRuns", json={})
        return response.status_code


async def test_tls(settings: Settings, authority: Authority, clients: Authority) -> None:
    async with Server(settings) as server:
        assert server.url.startswith("grpcs://")
        assert str(server.web_url).startswith("https://")
        assert await code_of_call(server, authority) == "OK"
        assert await code_of_call(server, clients) == "UNAVAILABLE"
        assert await status_on_the_web(server, authority) == 200
        async with grpc.aio.insecure_channel(server.url.removeprefix("grpcs://")) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await RunServiceStub(channel).ListRuns(ListRunsRequest())


async def test_mtls(mutual: Settings, authority: Authority, clients: Authority) -> None:
    async with Server(mutual) as server:
        assert await code_of_call(server, authority, clients.client()) == "OK"
        assert await code_of_call(server, authority) == "UNAVAILABLE"
        assert await code_of_call(server, authority, authority.client()) == "UNAVAILABLE"
        assert await status_on_the_web(server, authority, clients.client()) == 200
        with pytest.raises(httpx.TransportError):
            await status_on_the_web(server, authority)


async def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(
    settings: Settings, tmp_path: Path, authority: Authority
) -> None:
    async with Server(settings) as server:
        assert await code_of_call(server, authority) == "OK"
        (tmp_path / CERT).write_text("half writ")
        assert await code_of_call(server, authority) == "OK"
        assert await status_on_the_web(server, authority) == 200
        renewed = Authority(tmp_path, "renewed")
        put(tmp_path, renewed.server())
        assert await code_of_call(server, renewed) == "OK"
        assert await code_of_call(server, authority) == "UNAVAILABLE"
        assert await status_on_the_web(server, renewed) == 200


@pytest.mark.parametrize("broken", [CERT, KEY, CLIENT_CA])
@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"])
async def test_files_that_will_not_do(mutual: Settings, tmp_path: Path, broken: str, content: str | None) -> None:
    if content is None:
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_text(content)
    with pytest.raises(StartError, match=broken.replace(".", r"\.")):
        await Server(mutual).start()


async def test_a_key_of_another_certificate_will_not_do(
    settings: Settings, tmp_path: Path, authority: Authority
) -> None:
    shutil.copy(authority.client().key_file, tmp_path / KEY)
    with pytest.raises(StartError, match="cannot use the certificate"):
        await Server(settings).start()


@pytest.mark.parametrize("flags", [{"tls_cert": "a"}, {"tls_key": "a"}, {"tls_client_ca": "a"}, {"web_tls_cert": "a"}])
def test_certificate_and_key_come_together(flags: dict[str, str]) -> None:
    prefix = "--web-tls" if "web_tls_cert" in flags else "--tls"
    with pytest.raises(SettingError, match=f"{prefix}-cert and {prefix}-key are needed together"):
        load(flags)
