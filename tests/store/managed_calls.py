"""Each call of `ManagedStore`, so that each of its statements runs."""

from midstream_server.domain.run import EntryKind
from midstream_server.store.managed import Progress
from store.engines import MUCH, NOW_US, append, draft
from store.managed_runs import LEASE_US, Yard, applied, failure


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
