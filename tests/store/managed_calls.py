"""Each call of `ManagedStore` and of `OutputStore`, so that each of their statements runs."""

from midstream_server.domain.run import EntryKind
from midstream_server.store.managed import EndedAttempt, Progress
from store.engines import MUCH, NOW_US, WholeStore, append, create, draft
from store.managed_runs import LEASE_US, Desks, Yard, applied, failure
from store.outputs import Outputs, written


async def every_managed_call(yard: Yard) -> None:
    managed = yard.store.managed
    opened = await yard.opened("first", credit=9, lease_until_us=NOW_US + LEASE_US)
    claim = await yard.running("managed-1", max_duration_us=LEASE_US)
    await yard.append(claim, "step")
    await yard.append(claim, "step")
    await yard.append(claim, "timer", kind=EntryKind.TIMER_FIRED, due_us=NOW_US)
    await append(yard.store, draft(key="k"), run_id="managed-1")
    progress = Progress(6, consumed=[("s", 1)], failures=[("s", failure(1))])
    await managed.note_progress(claim.run_no, 1, progress, now_us=NOW_US)
    await yard.restart(claim, progress=applied(claim, 6))
    await yard.suspend(claim, listening=["s"], timers={1: NOW_US + 1}, progress=applied(claim, 7))
    await yard.send(run_id="managed-1")
    claim = yard.claimed()
    await yard.suspend(claim, timers={1: NOW_US + 1}, progress=applied(claim))
    await yard.fire(NOW_US + 2)
    claim = yard.claimed()
    await yard.suspend(claim, timers={1: NOW_US + 1_000}, progress=applied(claim), now_us=NOW_US + 2)
    await yard.cancel("managed-1", now_us=NOW_US + 2)
    claim = yard.claimed()
    for after, limit in ((0, 9), (3, 2)):
        await managed.read_entries(claim.run_no, after_offset=after, max_entries=limit, max_bytes=MUCH)
        await managed.read_log(claim.run_no, after_offset=after, max_entries=limit, max_bytes=MUCH)
    await managed.assignments(claim.run_no, limit=9)
    await yard.release(claim)
    claim = yard.claimed()
    await yard.release(claim, died=True)
    await yard.block(yard.claimed())
    await yard.finish(await yard.running("managed-2"))
    held = await yard.running("managed-3")
    dropped = await yard.running("managed-4")
    yard.desks.by_no.clear()
    await yard.opened("first", held=[("managed-3", held.epoch)], tasks={"task": "2"}, lease_until_us=NOW_US + LEASE_US)
    await yard.claim_queued(limit=1)
    assert not await managed.renew_lease(opened.worker_no, lease_until_us=NOW_US)
    await managed.extend_leases(lease_until_us=NOW_US + 2 * LEASE_US)
    await yard.fire(NOW_US + 2 * LEASE_US)
    assert dropped.run_no != held.run_no


async def every_output_call(store: WholeStore, desks: Desks) -> None:
    """Each call of `OutputStore`, on runs of its own."""
    yard = Yard(store, desks)
    outputs = Outputs(store)
    await yard.opened("of-outputs", credit=1)
    claim = await yard.running("outputs")
    await outputs.append(claim, written("a"), written("a", operation=1, attempt=1), written("b", operation=2))
    await outputs.append(claim, written("a", operation=1, attempt=1, place=1))
    await outputs.append(claim, written("a", operation=1, attempt=2), written("a", operation=1, attempt=3))
    await yard.append(claim, ended=EndedAttempt(1, 4, returned=True))
    for stream_id in (None, "a"):
        await outputs.page(claim.run_no, stream_id, after=2)
    await create(store, "output")
    for _ in range(2):
        await outputs.attached(draft(key="k"), run_id="output")
    await yard.finish(claim)
