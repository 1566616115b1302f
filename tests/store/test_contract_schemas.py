"""Every store: the registry of schemas."""

import asyncio

from midstream_server.store.schemas import NewSchema, StoredSchema
from store.engines import NAMESPACE, NOW_US, Engine, WholeStore


def new(stream_id: str, body: str, *, after: int = 0) -> NewSchema:
    return NewSchema(stream_id, b"digest of " + body.encode(), body.encode(), after)


def stored(stream_id: str, version: int, body: str, *, at_us: int = NOW_US) -> StoredSchema:
    return StoredSchema(stream_id, version, b"digest of " + body.encode(), body.encode(), at_us)


async def add(store: WholeStore, *schemas: NewSchema, namespace: str = NAMESPACE, at_us: int = NOW_US) -> bool:
    return await store.schemas.add(namespace, schemas, now_us=at_us) is not None


async def test_versions_count_from_one_for_each_stream_of_a_namespace(store: WholeStore) -> None:
    assert await store.schemas.add(NAMESPACE, [new("b", "b1"), new("a", "a1")], now_us=NOW_US) == [
        stored("b", 1, "b1"),
        stored("a", 1, "a1"),
    ]
    assert await add(store, new("a", "a2", after=1), at_us=NOW_US + 5)
    assert await add(store, new("a", "elsewhere"), namespace="acme")
    assert await store.schemas.newest(NAMESPACE) == [stored("a", 2, "a2", at_us=NOW_US + 5), stored("b", 1, "b1")]
    assert await store.schemas.newest("acme") == [stored("a", 1, "elsewhere")]
    assert await store.schemas.newest("nobody") == []


async def test_one_version_or_the_newest_is_found(store: WholeStore) -> None:
    await add(store, new("a", "a1"))
    await add(store, new("a", "a2", after=1))
    assert await store.schemas.get(NAMESPACE, "a", None) == stored("a", 2, "a2")
    assert await store.schemas.get(NAMESPACE, "a", 1) == stored("a", 1, "a1")
    assert await store.schemas.get(NAMESPACE, "a", 3) is None
    assert await store.schemas.get(NAMESPACE, "b", None) is None
    assert await store.schemas.get("acme", "a", None) is None
    assert await store.schemas.get(NAMESPACE, "a\0", None) is None


async def test_what_was_made_without_the_newest_in_view_is_not_registered_and_nothing_with_it(
    store: WholeStore,
) -> None:
    await add(store, new("a", "a1"))
    revision = await store.schemas.revision()
    assert not await add(store, new("b", "b1"), new("a", "a1 again"))
    assert not await add(store, new("a", "a3", after=2))
    assert await store.schemas.newest(NAMESPACE) == [stored("a", 1, "a1")]
    assert await store.schemas.revision() == revision


async def test_of_those_who_register_at_once_one_comes_first(store: WholeStore) -> None:
    outcomes = await asyncio.gather(*(add(store, new("a", f"by {number}")) for number in range(10)))
    assert sum(outcomes) == 1
    assert len(await store.schemas.page(NAMESPACE, "a", after=("", 0), limit=100)) == 1


async def test_pages_go_on_behind_the_last_one(store: WholeStore) -> None:
    await add(store, new("a", "a1"), new("b", "b1"), new("c", "c1"))
    await add(store, new("b", "b2", after=1))
    await add(store, new("b", "b3", after=2))

    async def page(stream_id: str | None, after: tuple[str, int], limit: int) -> list[tuple[str, int]]:
        found = await store.schemas.page(NAMESPACE, stream_id, after=after, limit=limit)
        return [(schema.stream_id, schema.version) for schema in found]

    assert await page(None, ("", 0), 2) == [("a", 1), ("b", 3)]
    assert await page(None, ("b", 3), 2) == [("c", 1)]
    assert await page("b", ("", 0), 2) == [("b", 1), ("b", 2)]
    assert await page("b", ("b", 2), 2) == [("b", 3)]
    assert await page("d", ("", 0), 2) == []


async def test_settings_are_those_set_last(store: WholeStore) -> None:
    assert await store.schemas.settings(NAMESPACE) is None
    await store.schemas.set_settings(NAMESPACE, b"one")
    await store.schemas.set_settings(NAMESPACE, b"two")
    assert await store.schemas.settings(NAMESPACE) == b"two"
    assert await store.schemas.settings("acme") is None


async def test_the_revision_grows_with_every_change(store: WholeStore) -> None:
    seen = [await store.schemas.revision()]
    await add(store, new("a", "a1"))
    seen.append(await store.schemas.revision())
    await add(store, new("a", "a1"), namespace="acme")
    seen.append(await store.schemas.revision())
    await store.schemas.set_settings(NAMESPACE, b"")
    seen.append(await store.schemas.revision())
    assert seen[0] == 0
    assert seen == sorted(set(seen))


async def test_schemas_survive_a_restart(engine: Engine) -> None:
    store = await engine.open()
    await add(store, new("a", "a1"))
    await store.schemas.set_settings(NAMESPACE, b"settings")
    await store.close()
    store = await engine.open()
    assert await store.schemas.newest(NAMESPACE) == [stored("a", 1, "a1")]
    assert await store.schemas.settings(NAMESPACE) == b"settings"
    await store.close()
