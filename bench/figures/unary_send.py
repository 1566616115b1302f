"""`SendOne`, a record a call: its latency beside a bare echo and a bare commit, its rate beside a bare echo's."""

from functools import partial

from grpc import aio

from bench.context import Context
from bench.limits.sqlite import store_schema
from bench.measure import Figure, interleave, latencies, values
from bench.unary_calls import at_once, one_at_a_time
from midstream.v1 import stream_service_pb2, stream_service_pb2_grpc


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    channel = aio.insecure_channel(context.address)
    context.cleanup.push_async_callback(channel.close)
    table = store_schema(context.directory / "bare_unary.db")
    context.cleanup.callback(table.close)
    stub = stream_service_pb2_grpc.StreamServiceStub(channel)

    async def echo(frame: bytes) -> None:
        await context.echo.unary(frame)

    async def echo_and_commit(frame: bytes) -> None:
        rows = table.rows(1, sizes.payload_bytes)
        await context.echo.unary(frame)
        table.commit(rows)

    async def send_one(frame: bytes) -> None:
        await stub.SendOne(stream_service_pb2.SendOneRequest.FromString(frame))

    limit_times, times = await interleave(
        sizes.repeats,
        partial(one_at_a_time, context, channel, echo_and_commit),
        partial(one_at_a_time, context, channel, send_one),
    )
    limit_rates, rates = await interleave(
        sizes.repeats,
        partial(at_once, context, channel, [echo] * sizes.unary_in_flight),
        partial(at_once, context, channel, [send_one] * sizes.unary_in_flight),
    )
    return [
        Figure(
            name="unary_send_latency",
            title="SendOne, one call at a time",
            unit="ms",
            ours=latencies(times),
            limit=latencies(limit_times),
            limit_title="bare unary echo + one bare commit",
        ),
        Figure(
            name="unary_send_rate",
            title=f"SendOne, {sizes.unary_in_flight} calls at once",
            unit="calls/s",
            ours=values(rates),
            limit=values(limit_rates),
            limit_title="bare unary echo, nothing stored",
        ),
    ]
