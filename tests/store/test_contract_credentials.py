"""Every store: API keys, revoked tokens, and how often a token was used."""

import asyncio

from midstream_server.domain import api_key
from midstream_server.domain.accept import Accepted
from midstream_server.domain.access_token import Uses
from midstream_server.domain.api_key import ApiKey
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.record import Draft
from midstream_server.domain.run import State
from midstream_server.store import Store
from store.engines import NAMESPACE, NOW_US, SECOND_US, Engine, WholeStore, create, draft, drafts, page, short

ONCE = Uses("token-1", 1, NOW_US + 100 * SECOND_US)
TWICE = Uses("token-2", 2, NOW_US + 100 * SECOND_US)


def a_key(name: str = "backend", *, namespace: str = NAMESPACE, at_us: int = NOW_US) -> ApiKey:
    return api_key.kept(api_key.new_text(), namespace=namespace, name=name, now_us=at_us)


async def send(
    store: Store, *batch: Draft, uses: Uses | None, run_id: str = "run", stream_id: str = "s", now_us: int = NOW_US
) -> list[int | Reason]:
    return short(await store.append(NAMESPACE, run_id, stream_id, batch, now_us=now_us, uses=uses))


async def test_keys_are_kept_as_they_were_given(store: WholeStore) -> None:
    first, second = a_key("first"), a_key("second", namespace="acme", at_us=NOW_US + 1)
    await store.credentials.add_key(first)
    await store.credentials.add_key(second)
    assert (await store.credentials.key_changes(after=0)).keys == [first, second]


async def test_whoever_looks_again_sees_what_has_changed_and_nothing_else(store: WholeStore) -> None:
    assert await store.credentials.key_changes(after=0) == ([], 0)
    first, second = a_key("first"), a_key("second", at_us=NOW_US + 1)
    await store.credentials.add_key(first)
    seen = await store.credentials.key_changes(after=0)
    assert await store.credentials.key_changes(after=seen.through) == ([], seen.through)
    await store.credentials.add_key(second)
    assert await store.credentials.revoke_key(first.key_id, now_us=NOW_US + 5)
    changes = await store.credentials.key_changes(after=seen.through)
    assert [(key.name, key.revoked_us) for key in changes.keys] == [("first", NOW_US + 5), ("second", None)]
    assert changes.through > seen.through


async def test_a_key_is_revoked_once(store: WholeStore) -> None:
    key = a_key()
    await store.credentials.add_key(key)
    assert await store.credentials.revoke_key(key.key_id, now_us=NOW_US + 1)
    seen = await store.credentials.key_changes(after=0)
    assert await store.credentials.revoke_key(key.key_id, now_us=NOW_US + 2)
    assert await store.credentials.key_changes(after=seen.through) == ([], seen.through)
    assert (await store.credentials.key_changes(after=0)).keys[0].revoked_us == NOW_US + 1
    assert not await store.credentials.revoke_key("unknown", now_us=NOW_US)


async def test_keys_survive_a_restart(engine: Engine) -> None:
    store, key = await engine.open(), a_key()
    await store.credentials.add_key(key)
    await store.credentials.revoke_token(NAMESPACE, "t", forget_us=NOW_US + 9, now_us=NOW_US)
    seed = await store.credentials.server_seed(b"1" * 32)
    await store.close()
    store = await engine.open()
    assert (await store.credentials.key_changes(after=0)).keys == [key]
    assert await store.credentials.token_revoked(NAMESPACE, "t")
    assert await store.credentials.server_seed(b"2" * 32) == seed == b"1" * 32
    await store.close()


async def test_a_revoked_token_is_one_of_its_namespace(store: WholeStore) -> None:
    await store.credentials.revoke_token(NAMESPACE, "t", forget_us=NOW_US + 9, now_us=NOW_US)
    assert await store.credentials.token_revoked(NAMESPACE, "t")
    assert not await store.credentials.token_revoked("acme", "t")
    assert not await store.credentials.token_revoked(NAMESPACE, "u")


async def test_whoever_looks_again_sees_the_new_revocations(store: WholeStore) -> None:
    assert await store.credentials.revocations(after=0) == ([], 0)
    for number in range(3):
        await store.credentials.revoke_token(NAMESPACE, f"t{number}", forget_us=NOW_US + 9, now_us=NOW_US)
    seen = await store.credentials.revocations(after=0)
    assert seen.tokens == [(NAMESPACE, "t0"), (NAMESPACE, "t1"), (NAMESPACE, "t2")]
    await store.credentials.revoke_token(NAMESPACE, "t0", forget_us=NOW_US + 9, now_us=NOW_US)
    await store.credentials.revoke_token("acme", "t0", forget_us=NOW_US + 9, now_us=NOW_US)
    assert (await store.credentials.revocations(after=seen.through)).tokens == [("acme", "t0")]


async def test_a_revocation_is_forgotten_after_its_time_and_the_longer_time_counts(store: WholeStore) -> None:
    await store.credentials.revoke_token(NAMESPACE, "short", forget_us=NOW_US + 9, now_us=NOW_US)
    await store.credentials.revoke_token(NAMESPACE, "long", forget_us=NOW_US + 99, now_us=NOW_US)
    await store.credentials.revoke_token(NAMESPACE, "long", forget_us=NOW_US + 9, now_us=NOW_US)
    await store.credentials.revoke_token(NAMESPACE, "other", forget_us=NOW_US + 99, now_us=NOW_US + 10)
    assert not await store.credentials.token_revoked(NAMESPACE, "short")
    assert await store.credentials.token_revoked(NAMESPACE, "long")


async def test_a_token_sends_as_many_records_as_it_has_uses(store: WholeStore) -> None:
    await create(store)
    await create(store, "other")
    assert await send(store, draft(), uses=TWICE) == [1]
    assert await send(store, draft(), uses=TWICE, run_id="other") == [1]
    assert await send(store, draft(), uses=TWICE) == [Reason.TOKEN_USED_UP]
    assert await send(store, draft(), uses=ONCE) == [2]
    assert await send(store, draft(), uses=None) == [3]


async def test_a_batch_beyond_the_uses_is_cut_where_they_end(store: WholeStore) -> None:
    run = await create(store)
    assert await send(store, *drafts(4), uses=TWICE) == [1, 2, Reason.TOKEN_USED_UP, Reason.TOKEN_USED_UP]
    assert len((await page(store, run)).records) == 2


async def test_what_is_not_stored_uses_nothing_up(store: WholeStore) -> None:
    await create(store)
    flaw = Refused(Reason.PAYLOAD_INVALID, "no")
    assert await send(store, draft(flaw=flaw), uses=ONCE, stream_id="new") == [Reason.PAYLOAD_INVALID]
    assert await send(store, draft(key="k"), uses=ONCE) == [1]
    assert await send(store, draft(key="k"), draft(b"other", key="k"), draft(), uses=ONCE) == [
        1,
        Reason.IDEMPOTENCY_KEY_REUSED,
        Reason.TOKEN_USED_UP,
    ]
    assert await send(store, draft(), uses=ONCE, stream_id="new") == [Reason.TOKEN_USED_UP]
    assert [stream.stream_id for stream in (await store.get_run(NAMESPACE, "run")).streams] == ["s"]
    await store.finish(NAMESPACE, "run", State.COMPLETED, b"", now_us=NOW_US)
    assert await send(store, draft(), uses=ONCE) == [Reason.RUN_FINISHED]


async def test_many_at_once_share_the_uses(store: WholeStore) -> None:
    await create(store)
    results = await asyncio.gather(*(send(store, draft(), uses=TWICE, stream_id=f"s{n % 3}") for n in range(30)))
    assert sum(result != [Reason.TOKEN_USED_UP] for result in results) == 2


async def test_uses_belong_to_a_namespace_and_survive_a_restart(engine: Engine) -> None:
    store = await engine.open()
    await create(store)
    await create(store, namespace="acme")
    assert await send(store, draft(), uses=ONCE) == [1]
    (other,) = await store.append("acme", "run", "s", [draft()], now_us=NOW_US, uses=ONCE)
    assert isinstance(other, Accepted)
    await store.close()
    store = await engine.open()
    assert await send(store, draft(), uses=ONCE) == [Reason.TOKEN_USED_UP]
    await store.close()
