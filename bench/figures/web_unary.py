"""`SendOne` by Connect from a browser beside `SendOne` on gRPC: its latency and its rate, on one server."""

from grpc import aio

from bench.context import Context
from bench.measure import Figure, interleave, latencies, values
from bench.unary_calls import at_once, one_at_a_time
from bench.web_calls import SEND_ONE, WebCaller


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    channel = aio.insecure_channel(context.address)
    context.cleanup.push_async_callback(channel.close)
    by_grpc: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SEND_ONE)
    web_url = str(context.server.ready["web_url"])
    by_web = await context.cleanup.enter_async_context(WebCaller(web_url))
    grpc_times, web_times = await interleave(
        sizes.repeats,
        lambda: one_at_a_time(context, channel, by_grpc),
        lambda: one_at_a_time(context, channel, by_web.send_one),
    )
    # A browser has six connections to a host; more are as many pages.
    callers = [await context.cleanup.enter_async_context(WebCaller(web_url)) for _ in range(sizes.unary_in_flight)]
    grpc_rates, web_rates = await interleave(
        sizes.repeats,
        lambda: at_once(context, channel, [by_grpc] * sizes.unary_in_flight),
        lambda: at_once(context, channel, [caller.send_one for caller in callers]),
    )
    return [
        Figure(
            name="web_unary_latency",
            title="SendOne by Connect, one call at a time",
            unit="ms",
            ours=latencies(web_times),
            limit=latencies(grpc_times),
            limit_title="SendOne on gRPC",
        ),
        Figure(
            name="web_unary_rate",
            title=f"SendOne by Connect, {sizes.unary_in_flight} calls at once",
            unit="calls/s",
            ours=values(web_rates),
            limit=values(grpc_rates),
            limit_title="SendOne on gRPC",
        ),
    ]
