"""gRPC-Web, in binary and as text, unary and streaming."""

import base64

import pytest

from midstream.v1 import run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from support.calls import new_record
from support.follow import reason_in_status
from support.web import GRPC_WEB, GRPC_WEB_TEXT, RUNS, STREAMS, TRAILERS, Page, encoded, frame, frames, status_of
from support.web import trailers_of as trailers


async def call(page: Page, path: str, message: bytes, headers: dict[str, str]) -> list[tuple[int, bytes]]:
    """The frames of the response."""
    text = "text" in headers["content-type"]
    content = base64.b64encode(frame(message)) if text else frame(message)
    response = await page.http.post(path, content=content, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, headers["content-type"])
    body = response.content
    if text:  # Each frame has its own padding.
        body = b"".join(base64.b64decode(part + b"=" * (-len(part) % 4)) for part in body.split(b"=") if part)
    return frames(body)


both = pytest.mark.parametrize("headers", [GRPC_WEB, GRPC_WEB_TEXT], ids=["binary", "text"])


@both
async def test_a_unary_call(page: Page, headers: dict[str, str]) -> None:
    run_id = await page.attach()
    request = pb.SendOneRequest(run_id=run_id, stream_id="s", records=[new_record("1")])
    message, end = await call(page, STREAMS + "SendOne", encoded(request), headers)
    assert pb.SendOneResponse.FromString(message[1]).receipts[0].accepted.seq == 1
    assert end[0] == TRAILERS
    assert trailers(end[1]) == {"grpc-status": "0"}


@both
async def test_a_stream(page: Page, headers: dict[str, str]) -> None:
    run_id = await page.attach()
    await page.send(run_id, 1, 2, 3)
    await page.finish(run_id)
    *messages, end = await call(page, STREAMS + "Tail", encoded(pb.TailRequest(run_id=run_id)), headers)
    assert [record.seq for _, each in messages for record in pb.TailResponse.FromString(each).records] == [1, 2, 3]
    assert trailers(end[1]) == {"grpc-status": "0"}


@both
async def test_a_refusal_is_in_the_trailers_with_its_details(page: Page, headers: dict[str, str]) -> None:
    request = run_service_pb2.GetRunRequest(run_id="run_grüße")
    ((flags, end),) = await call(page, RUNS + "GetRun", encoded(request), headers)
    assert flags == TRAILERS
    said = trailers(end)
    assert said["grpc-status"] == "3"
    assert "%C3%BC" in said["grpc-message"]
    status = status_of(said)
    assert (status.code, reason_in_status(status)) == (3, "FIELD_INVALID")


async def test_a_deadline(page: Page) -> None:
    run_id = await page.attach()
    request = encoded(pb.TailRequest(run_id=run_id))
    ((_, end),) = await call(page, STREAMS + "Tail", request, {**GRPC_WEB, "grpc-timeout": "50m"})
    assert trailers(end)["grpc-status"] == "4"


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", GRPC_WEB),
        (b"\x00\x00", GRPC_WEB),
        (frame(b"")[:4] + b"\x09", GRPC_WEB),
        (frame(b"") + frame(b""), GRPC_WEB),
        (frame(b"x", flags=1), GRPC_WEB),
        (frame(b"x", flags=1), {**GRPC_WEB, "grpc-encoding": "gzip"}),
        (frame(b"x", flags=0x80), GRPC_WEB),
        (frame(b"\xff\xff\xff"), GRPC_WEB),
        (b"!!!!", GRPC_WEB_TEXT),
        (b"AAA", GRPC_WEB_TEXT),
    ],
)
async def test_garbage_is_an_invalid_argument(page: Page, content: bytes, headers: dict[str, str]) -> None:
    response = await page.http.post(RUNS + "GetRun", content=content, headers=headers)
    body = response.content if headers is not GRPC_WEB_TEXT else base64.b64decode(response.content)
    ((flags, end),) = frames(body)
    assert (flags, trailers(end)["grpc-status"]) == (TRAILERS, "3")
