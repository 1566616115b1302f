"""Attached runs to send to."""

import asyncio

from grpc import aio

from midstream.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc

CALLS_AT_ONCE = 100


async def attach_runs(channel: aio.Channel, count: int) -> list[str]:
    """Creates that many attached runs and returns their ids."""
    stub = run_service_pb2_grpc.RunServiceStub(channel)

    async def attach() -> str:
        request = run_service_pb2.AttachRunRequest(spec=run_pb2.RunSpec(task="bench"))
        return (await stub.AttachRun(request)).run.run_id

    run_ids: list[str] = []
    while len(run_ids) < count:
        some = min(CALLS_AT_ONCE, count - len(run_ids))
        run_ids += await asyncio.gather(*(attach() for _ in range(some)))
    return run_ids
