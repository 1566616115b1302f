"""What generic tools need: health, and reflection that describes every service without our files."""

import asyncio
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]

from midstream_server.server import SERVICES, Server
from support.server_process import ServerProcess

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
BUF = Path(sys.executable).parent / "buf"


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_every_service_is_serving(channel: grpc.aio.Channel, service: str) -> None:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == SERVING


async def test_an_unknown_service_has_no_health(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="nope"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_hears_of_the_drain_and_does_not_hold_it_up(server: Server, channel: grpc.aio.Channel) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    await server.stop()
    assert (await watch.read()).status == NOT_SERVING


async def test_a_burst_of_5000_calls_is_served_whole(channel: grpc.aio.Channel) -> None:
    check = health_pb2_grpc.HealthStub(channel).Check
    answers = await asyncio.gather(*(check(health_pb2.HealthCheckRequest()) for _ in range(5_000)))
    assert {answer.status for answer in answers} == {SERVING}


async def test_bytes_that_are_not_http_do_not_disturb_others(server: Server, channel: grpc.aio.Channel) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1_000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(garbage)
        await reader.read()  # Until the server hangs up.
        writer.close()
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == SERVING


async def test_reflection_lists_and_describes_the_services(channel: grpc.aio.Channel) -> None:
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=service) for service in SERVICES),
    ]
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(requests))
    listed, *described = [answer async for answer in call]
    names = {service.name for service in listed.list_services_response.service}
    assert set(SERVICES) <= names
    for service, answer in zip(SERVICES, described, strict=True):
        files = [FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto]
        assert service.rpartition(".")[2] in {each.name for file in files for each in file.service}


def test_a_generic_client_calls_by_reflection_alone(server_process: ServerProcess) -> None:
    command = [str(BUF), "curl", "--http2-prior-knowledge", "--protocol", "grpc", "--reflect"]
    url = server_process.url.replace("grpc://", "http://") + "/grpc.health.v1.Health/Check"
    ended = subprocess.run([*command, "-d", "{}", url], capture_output=True, text=True, timeout=30, check=False)
    assert "SERVING" in ended.stdout, ended.stderr
