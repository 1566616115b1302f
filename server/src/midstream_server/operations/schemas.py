"""The registry in this process: what each namespace's streams are declared to be, ready to check with."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from midstream.v1.schema_service_pb2 import Schema, SchemaSettings
from midstream_server.domain.policy import Policy
from midstream_server.domain.schemas.declaration import Declaration, SchemaKind, policy_of
from midstream_server.domain.schemas.json_type import JsonType
from midstream_server.domain.schemas.protobuf_type import ProtobufType
from midstream_server.store.schemas import SchemaStore, StoredSchema
from midstream_server.telemetry import log

READY: Final = 256
"""Compiled types that are kept: the last used. Of protobuf, each takes some 1.3 MB."""


class Declared(NamedTuple):
    """A stream's newest schema."""

    stream_id: str
    version: int
    kind: SchemaKind
    type_name: str
    definition: bytes
    policy: Policy


class Namespace(NamedTuple):
    """What a namespace says of its streams."""

    streams: dict[str, Declared]
    refuses_undeclared: bool


@dataclass(slots=True)
class _Turn:
    """Those who wait until a namespace is loaded go on in the order in which they came: records keep theirs."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    loaded: Namespace | None = None
    stale: bool = False


class Schemas:
    """One server's. A look-up on the way of a record is one of a dict."""

    def __init__(self, store: SchemaStore, *, max_payload_bytes: int) -> None:
        self.store = store
        self.max_payload_bytes = max_payload_bytes
        self.compiling = asyncio.Semaphore(1)
        """One registration is compiled at a time, beside the loop."""
        self._known: dict[str, Namespace] = {}
        self._turns: dict[str, _Turn] = {}
        self._types: OrderedDict[tuple[str, str, int], ProtobufType | JsonType] = OrderedDict()
        self._revision = -1
        self._looking: asyncio.Task[None] | None = None

    async def of(self, namespace: str) -> Namespace:
        """Raises Refused: STORE_UNAVAILABLE."""
        known = self._known.get(namespace)
        if known is not None:
            return known
        turn = self._turns.setdefault(namespace, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                if turn.loaded is None:
                    turn.loaded = await self._load(namespace)
                return turn.loaded
        finally:
            turn.waiting -= 1
            if turn.waiting == 0:
                del self._turns[namespace]
                if turn.loaded is not None and not turn.stale:
                    self._known[namespace] = turn.loaded

    def type_of(self, namespace: str, declared: Declared) -> ProtobufType | JsonType:
        key = (namespace, declared.stream_id, declared.version)
        ready = self._types.get(key)
        if ready is None:
            if declared.kind is SchemaKind.PROTOBUF:
                ready = ProtobufType(declared.type_name, declared.definition)
            else:
                ready = JsonType(declared.definition, declared.stream_id)
            self._types[key] = ready
            if len(self._types) > READY:
                self._types.popitem(last=False)
        else:
            self._types.move_to_end(key)
        return ready

    async def version_of(self, namespace: str, stream_id: str, version: int) -> ProtobufType | JsonType | None:
        """What records of this version were checked against."""
        ready = self._types.get((namespace, stream_id, version))
        if ready is not None:
            return ready
        stored = await self.store.get(namespace, stream_id, version)
        return None if stored is None else self.type_of(namespace, declared_of(stored))

    def forget(self, namespaces: Collection[str] | None) -> None:
        """Something else is registered there now; None: perhaps, in any of them."""
        if namespaces is None:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="schemas")
            return
        for namespace in namespaces:
            self._known.pop(namespace, None)
            if namespace in self._turns:
                self._turns[namespace].stale = True

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self) -> None:
        try:
            revision = await self.store.revision()
            if revision != self._revision:
                self._revision = revision
                self.forget({*self._known, *self._turns})
        except Exception as error:
            log.schemas_delayed(error=error)
            self.forget({*self._known, *self._turns})
        finally:
            self._looking = None

    async def _load(self, namespace: str) -> Namespace:
        newest = await self.store.newest(namespace)
        settings = await self.store.settings(namespace)
        return Namespace({each.stream_id: declared_of(each) for each in newest}, refuses_undeclared(settings))


def body_of(declaration: Declaration) -> bytes:
    """As the store keeps it."""
    schema = Schema(stream_id=declaration.stream_id)
    schema.options.ParseFromString(declaration.options)
    if declaration.kind is SchemaKind.PROTOBUF:
        schema.protobuf.type_name = declaration.type_name
        schema.protobuf.file_descriptor_set = declaration.definition
    else:
        schema.json.schema = declaration.definition.decode()
    return schema.SerializeToString(deterministic=True)


def declared_of(stored: StoredSchema) -> Declared:
    schema = Schema.FromString(stored.body)
    policy = policy_of(schema.options.SerializeToString())
    if schema.WhichOneof("definition") == "protobuf":
        message = schema.protobuf
        return Declared(
            *(stored.stream_id, stored.version, SchemaKind.PROTOBUF, message.type_name),
            *(message.file_descriptor_set, policy),
        )
    definition = schema.json.schema.encode()
    return Declared(stored.stream_id, stored.version, SchemaKind.JSON, "", definition, policy)


def refuses_undeclared(settings: bytes | None) -> bool:
    """What the store keeps for a namespace says."""
    return (
        settings is not None
        and SchemaSettings.FromString(settings).undeclared_streams == SchemaSettings.UNDECLARED_STREAMS_REFUSE
    )
