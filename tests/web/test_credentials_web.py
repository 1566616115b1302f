"""Credentials on the web edge: readable refusals, tokens of a page, tokens of a target, and what ends with them."""

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.calls import SECOND_US, attach, finish, send, until
from support.credentials import As, calling, mint, new_key
from support.follow import Heard, records_of, state_of
from support.web import CONNECT_JSON, RUNS, STREAMS, Page, follow_on, following, frame, frames, hear, reason_of, socket

ORIGIN = "https://app.example.com"


@pytest.fixture
async def backend(server: Server) -> AsyncIterator[As]:
    async with calling(server, await new_key(server)) as backend:
        yield backend


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def with_token(target: pb.FollowRequest.Target, token: str) -> pb.FollowRequest.Target:
    target.access_token = token
    return target


async def test_without_credentials_a_page_is_told_so(page: Page, backend: As) -> None:
    response = await page.call(RUNS + "ListRuns")
    assert (response.status_code, reason_of(response)) == (401, "CREDENTIALS_MISSING")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    stream = await page.http.post(STREAMS + "Tail", content=frame(b'{"runId":"run_1"}'), headers=CONNECT_JSON)
    assert b'"unauthenticated"' in frames(stream.content)[0][1]


async def test_credentials_are_asked_for_before_the_body_is_read(page: Page, backend: As) -> None:
    response = await page.http.post(
        RUNS + "GetRun", content=b"no json", headers={"content-type": "application/json", **bearer("a.b.c")}
    )
    assert (response.status_code, reason_of(response)) == (401, "CREDENTIALS_INVALID")


async def test_a_token_does_over_the_web_what_it_does_on_grpc(page: Page, backend: As) -> None:
    run_id, other = await attach(backend.stubs), await attach(backend.stubs)
    token = (await mint(backend, f"send:{run_id}/s", f"read:{run_id}", subject="ann")).token
    page.http.headers.update(bearer(token))
    assert (await page.send(run_id, 1)).status_code == 200
    wrong_stream = await page.send(run_id, 1, stream_id="t")
    assert (wrong_stream.status_code, reason_of(wrong_stream)) == (403, "SCOPE_MISSING")
    foreign = await page.send(other, 1)
    assert (foreign.status_code, reason_of(foreign)) == (404, "RUN_NOT_FOUND")
    listed = await page.call(STREAMS + "ListRecords", {"runId": run_id})
    assert listed.json()["records"][0]["sender"] == {"kind": "KIND_ACCESS_TOKEN", "subject": "ann"}


async def test_an_expired_and_a_used_up_token(server: Server, page: Page, backend: As) -> None:
    run_id = await attach(backend.stubs)
    once = (await mint(backend, f"send:{run_id}/s", max_uses=1)).token
    page.http.headers.update(bearer(once))
    assert (await page.send(run_id, 1)).status_code == 200
    used = await page.send(run_id, 2)
    assert (used.status_code, reason_of(used)) == (403, "TOKEN_USED_UP")
    short = (await mint(backend, f"send:{run_id}/s", ttl_seconds=60)).token
    page.http.headers.update(bearer(short))
    await server.advance(61 * SECOND_US)
    expired = await page.send(run_id, 3)
    assert (expired.status_code, reason_of(expired)) == (401, "TOKEN_EXPIRED")


async def test_each_target_has_a_token_of_its_own(page: Page, backend: As) -> None:
    """As a page shows it over a WebSocket, which has no header for credentials."""
    mine, yours = await attach(backend.stubs), await attach(backend.stubs)
    token = (await mint(backend, f"read:{mine}")).token
    await send(backend.stubs, mine, "1")
    heard = Heard()
    async with socket(page.url, origin=ORIGIN) as opened:
        await follow_on(
            opened,
            [
                with_token(records_of(1, mine), token),
                with_token(state_of(2, mine), token),
                with_token(records_of(3, yours), token),
                with_token(records_of(4, mine), "a.b.c"),
                records_of(5, mine),
            ],
        )
        await hear(opened, heard, news=2)
        while len(heard.refused) < 3:
            await hear(opened, heard)
        await finish(backend.stubs, mine)
        with pytest.raises(ConnectionClosed):
            while True:
                await hear(opened, heard)
    assert heard.refused == {3: "RUN_NOT_FOUND", 4: "CREDENTIALS_INVALID", 5: "CREDENTIALS_MISSING"}
    assert (heard.values, heard.ended) == ({1: [1]}, {1, 2})


async def test_a_target_ends_with_its_token_and_the_others_go_on(server: Server, page: Page, backend: As) -> None:
    run_id = await attach(backend.stubs)
    short = (await mint(backend, f"read:{run_id}", ttl_seconds=60)).token
    long = (await mint(backend, f"read:{run_id}", ttl_seconds=3_600)).token
    async with following(
        page, with_token(records_of(1, run_id), short), with_token(records_of(2, run_id), long)
    ) as stream:
        await until_followed(server)
        await server.advance(61 * SECOND_US)
        while not stream.heard.refused:
            await stream.next()
        await send(backend.stubs, run_id, "1")
        await stream.until(1)
    assert stream.heard.refused == {1: "TOKEN_EXPIRED"}
    assert stream.heard.values == {2: [1]}


async def until_followed(server: Server) -> None:
    method = {"method": STREAMS + "Follow"}
    await until(lambda: server.metrics.registry.get_sample_value("midstream_open_streams", method) == 1)


async def test_a_call_ends_with_its_own_token(server: Server, page: Page, backend: As) -> None:
    run_id = await attach(backend.stubs)
    page.http.headers.update(bearer((await mint(backend, f"read:{run_id}", ttl_seconds=60)).token))
    async with following(page, state_of(1, run_id)) as stream:
        await stream.until(1)
        await server.advance(61 * SECOND_US)
        while await stream.next() is not None:
            pass
    assert stream.end is not None
    assert "TOKEN_EXPIRED" in str(stream.end["error"]["details"])


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return cert, key


async def test_over_tls(settings: Settings, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    secured = settings.model_copy(update={"web_tls_cert": cert, "web_tls_key": key})
    trusting = ssl.create_default_context(cafile=str(cert))
    async with Server(secured) as server:
        assert server.web_url is not None
        assert server.web_url.startswith("https://")
        page = Page(server.web_url)
        page.http = httpx.AsyncClient(base_url=server.web_url, verify=trusting, trust_env=False)
        async with page.http:
            run_id = await page.attach()
            heard = Heard()
            async with socket(server.web_url, ssl=trusting) as opened:
                await follow_on(opened, [state_of(1, run_id)])
                await hear(opened, heard, news=1)
    assert heard.states[1][0].run_id == run_id
