"""What has a peer, beside it: the figures of the other groups that have one, and nothing else."""

from contextlib import AsyncExitStack
from dataclasses import replace

import midstream
from bench.context import Context
from bench.figures import managed_run, one_at_a_time, resume
from bench.managed import Ear, start_worker
from bench.measure import Figure


async def measure(context: Context) -> list[Figure]:
    """Each with its peer alone: a peer that only runs takes processor time, too."""
    figures: list[Figure] = []
    for measured in (one_at_a_time.measure, _warm, _resume):
        async with AsyncExitStack() as cleanup:
            figures += await measured(replace(context, cleanup=cleanup, with_peers=True))
    return figures


async def _warm(context: Context) -> list[Figure]:
    start_worker(context)
    client = await context.cleanup.enter_async_context(midstream.connect(context.url))
    ear = context.cleanup.enter_context(Ear())
    return [await managed_run.handler(context, client, ear)]


async def _resume(context: Context) -> list[Figure]:
    short = tuple(entries for entries in context.sizes.log_entries if entries <= resume.PEER_ENTRIES)
    return await resume.measure(replace(context, sizes=replace(context.sizes, log_entries=short)))
