"""Connect: unary and streaming calls, in protobuf and JSON; errors with their details."""

import gzip
import json

import pytest

from midstream.v1 import run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from support.calls import new_record, until
from support.web import (
    CONNECT_JSON,
    CONNECT_PROTO,
    END_STREAM,
    JSON,
    PROTO,
    RUNS,
    STREAMS,
    Page,
    encoded,
    frame,
    frames,
    info_of,
    reason_of,
)


async def test_a_unary_call_in_json(page: Page) -> None:
    run_id = await page.attach()
    response = await page.send(run_id, {"text": "grüße"})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    accepted = response.json()["receipts"][0]["accepted"]
    assert (accepted["seq"], accepted["offset"]) == ("1", "2")
    peeked = await page.call(STREAMS + "Peek", {"runId": run_id, "streamId": "s"})
    assert json.loads(peeked.json()["record"]["payload"]["json"]) == {"text": "grüße"}


async def test_a_unary_call_in_protobuf(page: Page) -> None:
    run_id = await page.attach()
    request = pb.SendOneRequest(run_id=run_id, stream_id="s", records=[new_record("1", client_ref=7)])
    response = await page.http.post(STREAMS + "SendOne", content=encoded(request), headers=PROTO)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/proto")
    (receipt,) = pb.SendOneResponse.FromString(response.content).receipts
    assert (receipt.client_ref, receipt.accepted.seq) == (7, 1)


@pytest.mark.parametrize("codec", ["json", "proto"])
async def test_a_stream_of_responses(page: Page, codec: str) -> None:
    run_id = await page.attach()
    await page.send(run_id, 1, 2)
    await page.finish(run_id)
    headers = CONNECT_JSON if codec == "json" else CONNECT_PROTO
    request = json.dumps({"runId": run_id}).encode() if codec == "json" else encoded(pb.TailRequest(run_id=run_id))
    response = await page.http.post(STREAMS + "Tail", content=frame(request), headers=headers)
    assert response.headers["content-type"] == headers["content-type"]
    assert response.headers["x-accel-buffering"] == "no"
    *messages, end = frames(response.content)
    assert end == (END_STREAM, b"{}")
    assert [flags for flags, _ in messages] == [0]
    if codec == "json":
        seqs = [record["seq"] for _, content in messages for record in json.loads(content)["records"]]
    else:
        seqs = [str(record.seq) for _, content in messages for record in pb.TailResponse.FromString(content).records]
    assert seqs == ["1", "2"]


async def test_a_refused_unary_call_is_json_with_details(page: Page) -> None:
    response = await page.call(RUNS + "GetRun", {"runId": "run_none"})
    assert (response.status_code, response.headers["content-type"]) == (404, "application/json")
    error = response.json()
    assert (error["code"], "run_none" in error["message"]) == ("not_found", True)
    info = info_of(error)
    assert (info.reason, info.domain, dict(info.metadata)) == ("RUN_NOT_FOUND", "midstream.v1", {"run_id": "run_none"})


async def test_a_protobuf_call_is_refused_in_json_too(page: Page) -> None:
    request = encoded(run_service_pb2.GetRunRequest(run_id="run_none"))
    response = await page.http.post(RUNS + "GetRun", content=request, headers=PROTO)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/json")
    assert reason_of(response) == "RUN_NOT_FOUND"


async def test_an_idle_stream_is_open_at_once(page: Page) -> None:
    run_id = await page.attach()
    request = frame(json.dumps({"runId": run_id}).encode())
    async with page.http.stream("POST", STREAMS + "Tail", content=request, headers=CONNECT_JSON) as response:
        assert response.status_code == 200


async def test_a_refused_stream_ends_with_the_error(page: Page) -> None:
    request = frame(json.dumps({"runId": "run_none"}).encode())
    response = await page.http.post(STREAMS + "Tail", content=request, headers=CONNECT_JSON)
    assert response.status_code == 200
    ((flags, content),) = frames(response.content)
    assert flags == END_STREAM
    error = json.loads(content)["error"]
    assert (error["code"], info_of(error).reason) == ("not_found", "RUN_NOT_FOUND")


async def test_several_details_come_together(page: Page) -> None:
    run_id = await page.attach()
    error = (await page.send(run_id, 1, stream_id="no name!")).json()
    assert {detail["type"] for detail in error["details"]} == {"google.rpc.ErrorInfo", "google.rpc.BadRequest"}
    assert "stream_id" in json.dumps([detail["debug"] for detail in error["details"]])


async def test_a_deadline_ends_a_long_poll(page: Page) -> None:
    run_id = await page.attach()
    asked = {"runId": run_id, "streamId": "s"}
    response = await page.call(STREAMS + "Receive", asked, **{"connect-timeout-ms": "50"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


async def test_a_deadline_ends_a_stream(page: Page) -> None:
    run_id = await page.attach()
    request = frame(json.dumps({"runId": run_id}).encode())
    headers = {**CONNECT_JSON, "connect-timeout-ms": "50"}
    response = await page.http.post(STREAMS + "Tail", content=request, headers=headers)
    (end,) = frames(response.content)
    assert json.loads(end[1])["error"]["code"] == "deadline_exceeded"


async def test_gzip_requests_are_taken(page: Page) -> None:
    run_id = await page.attach()
    headers = {**JSON, "content-encoding": "gzip"}
    packed = gzip.compress(json.dumps({"runId": run_id}).encode())
    assert (await page.http.post(RUNS + "GetRun", content=packed, headers=headers)).status_code == 200
    await page.finish(run_id)
    stream = {**CONNECT_JSON, "connect-content-encoding": "gzip"}
    response = await page.http.post(STREAMS + "Tail", content=frame(packed, flags=1), headers=stream)
    assert frames(response.content) == [(END_STREAM, b"{}")]


@pytest.mark.parametrize("encoding", ["br", "zstd", "nonsense"])
async def test_other_compressions_are_refused_with_what_is_taken(page: Page, encoding: str) -> None:
    headers = {**JSON, "content-encoding": encoding}
    response = await page.http.post(RUNS + "GetRun", content=b"x", headers=headers)
    assert (response.status_code, response.json()["code"]) == (501, "unimplemented")
    assert response.headers["accept-encoding"] == "gzip, identity"


async def test_unknown_fields_in_json_are_no_error(page: Page) -> None:
    run_id = await page.attach()
    assert (await page.call(RUNS + "GetRun", {"runId": run_id, "ofTheFuture": 1})).status_code == 200


async def test_calls_count_as_grpc_calls_do(server: Server, page: Page) -> None:
    await page.call(RUNS + "GetRun", {"runId": "run_none"})
    run_id = await page.attach()

    def count(path: str, code: str) -> float | None:
        return server.metrics.registry.get_sample_value("midstream_calls_total", {"method": path, "code": code})

    await until(lambda: count(RUNS + "AttachRun", "OK") == 1)
    assert count(RUNS + "GetRun", "NOT_FOUND") == 1
    assert run_id
