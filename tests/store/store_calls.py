"""Each call of `Store`, so that each of its statements runs."""

from collections.abc import Sequence

from midstream_server.domain.policy import Policy
from midstream_server.domain.run import Kind, State
from midstream_server.store import HandlerFailure, Store
from store.engines import NAMESPACE, NOW_US, ack, append, create, draft, fill, hold, new_run, page, purge_all

FAR_US = 2 * NOW_US


async def every_call(store: Store) -> None:
    """Each method of the store, so that each of its statements runs."""
    run, _ = await store.create_run(new_run(first_records=[("s", draft(key="k"))]), now_us=NOW_US)
    await create(store, "managed", kind=Kind.MANAGED, max_duration_us=1)
    await store.create_run(new_run(), now_us=NOW_US)
    await append(store, draft(key="k"), draft(key="k2"), draft())
    await fill(store, 5, stream_id="t")
    await append(store, draft(), stream_id="t", policy=Policy(None, 3, True, False))
    epoch = await hold(store)
    await ack(store, 2, epoch=epoch, failures=[HandlerFailure(1, "h", b"")])
    await store.look(run.no, "s", after_seq=1, max_records=9, max_bytes=99)
    await store.newest(NAMESPACE, "run", "s")
    await page(store, run, after=1)
    await page(store, run, "s", after=2)
    await store.resolve(NAMESPACE, "run")
    filters: list[tuple[str | None, Sequence[State], int | None]] = [
        (None, (), None),
        (None, (), 9),
        ("task", (), None),
        (None, (State.RUNNING, State.FAILED), 9),
        ("task", (State.RUNNING,), None),
    ]
    for task, states, before_no in filters:
        await store.list_runs(NAMESPACE, task=task, states=states, before_no=before_no, limit=9)
    await store.snapshot()
    await store.demand()
    await store.next_due_us()
    await store.request_cancel(NAMESPACE, "run", now_us=NOW_US)
    await store.postpone_unheld(due_us=NOW_US + 1)
    await store.fire_due(now_us=NOW_US + 5, last_held_us=lambda _: NOW_US, limit=9)
    await store.finish(NAMESPACE, "run", State.CANCELLED, b"", now_us=NOW_US)
    await store.finish(NAMESPACE, "run", State.CANCELLED, b"", now_us=NOW_US)
    await purge_all(store, now_us=FAR_US, limit=3)
