"""Which pages may call, and that they can read every answer, errors above all."""

import pytest

from midstream_server.server import Server
from midstream_server.settings import SettingError, Settings, load
from midstream_server.web.origins import Origins
from support.web import CONNECT_JSON, GRPC_WEB, JSON, RUNS, STREAMS, Page, opened

ORIGIN = "https://app.example.com"
FOREIGN = "https://evil.example.com"
ASKED_HEADERS = "authorization,connect-protocol-version,connect-timeout-ms,content-type,x-grpc-web"


async def preflight(page: Page, origin: str) -> dict[str, str]:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": ASKED_HEADERS,
    }
    response = await page.http.options(STREAMS + "SendOne", headers=headers)
    return {"status": str(response.status_code), **response.headers}


async def test_a_preflight_of_an_allowed_page(page: Page) -> None:
    answer = await preflight(page, ORIGIN)
    assert (answer["status"], answer["access-control-allow-origin"], answer["vary"]) == ("204", ORIGIN, "origin")
    assert answer["access-control-allow-methods"] == "POST"
    allowed = {name.strip() for name in answer["access-control-allow-headers"].split(",")}
    assert set(ASKED_HEADERS.split(",")) <= allowed
    assert "access-control-allow-credentials" not in answer


async def test_a_preflight_of_a_foreign_page_allows_nothing(page: Page) -> None:
    answer = await preflight(page, FOREIGN)
    assert answer["status"] == "403"
    assert not [name for name in answer if name.startswith("access-control")]


async def test_a_foreign_page_is_refused_even_without_a_preflight(server: Server) -> None:
    async with opened(server, origin=FOREIGN) as foreign:
        response = await foreign.call(RUNS + "AttachRun", {"spec": {"task": "t"}})
        assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
        assert "--web-origins" in response.json()["message"]
        assert "access-control-allow-origin" not in response.headers
    async with opened(server) as program:
        assert (await program.call(RUNS + "ListRuns")).json() == {}


async def test_a_program_without_an_origin_may_call(server: Server) -> None:
    async with opened(server) as program:
        response = await program.call(RUNS + "ListRuns")
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers


async def test_the_page_that_the_listeners_own_host_serves_may_call(server: Server) -> None:
    assert server.web_url is not None
    async with opened(server, origin=server.web_url) as own:
        response = await own.call(RUNS + "ListRuns")
        assert response.headers["access-control-allow-origin"] == server.web_url


@pytest.mark.parametrize(
    ("path", "content", "headers", "http_status"),
    [
        (RUNS + "GetRun", b'{"runId":"run_none"}', JSON, 404),
        (RUNS + "GetRun", b'{"runId":', JSON, 400),
        (RUNS + "GetRun", b"{}", {"content-type": "text/plain"}, 415),
        (RUNS + "GetRun", b"{}", {}, 415),
        (RUNS + "GetRun", b"x", {**JSON, "content-encoding": "br"}, 501),
        (RUNS + "GetRun", b"{}", {**JSON, "connect-timeout-ms": "soon"}, 400),
        (RUNS + "Nonsense", b"{}", JSON, 404),
        ("/", b"", JSON, 404),
        (STREAMS + "Send", b"", CONNECT_JSON, 501),
        ("/midstream.v1.WorkerService/Work", b"", CONNECT_JSON, 404),
        (STREAMS + "SendOne", b"x" * (5 * 1024 * 1024 + 1), JSON, 413),
        (STREAMS + "Tail", b"", CONNECT_JSON, 200),
        (STREAMS + "Tail", b"", GRPC_WEB, 200),
    ],
)
async def test_every_error_is_readable_in_the_page(
    page: Page, path: str, content: bytes, headers: dict[str, str], http_status: int
) -> None:
    response = await page.http.post(path, content=content, headers=headers)
    assert response.status_code == http_status
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "grpc-status-details-bin" in response.headers["access-control-expose-headers"]
    if http_status != 200:
        assert set(response.json()) >= {"code", "message"}
    assert (await page.call(RUNS + "ListRuns")).status_code == 200


async def test_a_get_is_told_what_an_rpc_is(page: Page) -> None:
    response = await page.http.get(RUNS + "GetRun")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    ("allowed", "origin", "host", "answer"),
    [
        ([], "http://127.0.0.1:7780", "127.0.0.1:7780", True),
        ([], "http://localhost:7780", "localhost:7780", True),
        ([], "http://[::1]:7780", "[::1]:7780", True),
        ([], "http://127.0.0.1:5173", "127.0.0.1:7780", False),
        # A name that its owner rebinds to this machine's address would be "the same origin".
        ([], "http://rebound.example.com:7780", "rebound.example.com:7780", False),
        (["https://a.example"], "https://a.example", "other", True),
        (["https://a.example"], "https://a.example.evil", "other", False),
        (["https://a.example"], "http://a.example", "other", False),
        (["*"], "https://whoever.example", "other", True),
        ([], "null", "127.0.0.1:7780", False),
        ([], "http://[::1", "[::1", False),
    ],
)
def test_who_is_allowed(allowed: list[str], origin: str, host: str, answer: bool) -> None:
    assert Origins(allowed).allow(origin, host) is answer


def test_all_pages_are_allowed_only_when_asked_for_and_never_with_cookies() -> None:
    assert Settings().web_origin_list == []
    headers = dict(Origins(["*"]).response_headers("https://whoever.example"))
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in headers


def test_a_mistyped_origin_is_named() -> None:
    assert load({"web_origins": "https://a.example, http://localhost:5173"}).web_origin_list == [
        "https://a.example",
        "http://localhost:5173",
    ]
    for wrong in ("a.example", "https://a.example/", "https://a.example/path", "ftp://a.example"):
        with pytest.raises(SettingError, match="write it like https://"):
            load({"web_origins": wrong})
