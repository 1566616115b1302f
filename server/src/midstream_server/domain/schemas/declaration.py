"""What a stream is declared to be: its promises, and the definition of its payloads."""

import hashlib
from enum import IntEnum
from typing import NamedTuple

from midstream.v1.input_stream_pb2 import InputStreamOptions
from midstream_server.domain.errors import Refused
from midstream_server.domain.names import check_name
from midstream_server.domain.policy import Policy
from midstream_server.domain.schemas.errors import schema_invalid


class SchemaKind(IntEnum):
    """What payloads are."""

    PROTOBUF = 1
    JSON = 2


class Declaration(NamedTuple):
    """A stream's schema before it has a version.

    `options` is a serialised InputStreamOptions without what is unset or unknown. `definition`: of PROTOBUF a
    serialised FileDescriptorSet without the files that every server has; of JSON the schema's text.
    """

    stream_id: str
    kind: SchemaKind
    type_name: str
    options: bytes
    definition: bytes

    @property
    def digest(self) -> bytes:
        """The same for declarations that say the same."""
        digest = hashlib.sha256()
        for part in (bytes((self.kind,)), self.type_name.encode(), self.options, self.definition):
            digest.update(len(part).to_bytes(8))
            digest.update(part)
        return digest.digest()


def read_options(options: InputStreamOptions, *, file: str = "", where: str = "") -> bytes:
    """The options as they are kept. Raises Refused: SCHEMA_INVALID. `where` names who has them."""
    stream_id = options.id
    try:
        check_name("id", stream_id)
    except Refused as refused:
        raise schema_invalid(f"{where}the stream's {refused.message}", file=file) from None
    for name, limit in (
        ("max_payload_bytes", options.max_payload_bytes),
        ("max_unread_records", options.max_unread_records),
    ):
        if limit < 0:
            raise schema_invalid(f"{where}{name} is {limit}, must be 1 or more, or 0 for none", file=file)
    if options.when_full not in InputStreamOptions.WhenFull.values():
        raise schema_invalid(f"{where}when_full {options.when_full} is not known", file=file)
    kept = InputStreamOptions(
        id=stream_id,
        max_payload_bytes=options.max_payload_bytes,
        max_unread_records=options.max_unread_records,
        backend_only=options.backend_only,
    )
    if options.when_full == InputStreamOptions.WHEN_FULL_DROP_OLDEST:
        kept.when_full = InputStreamOptions.WHEN_FULL_DROP_OLDEST
    return kept.SerializeToString(deterministic=True)


def policy_of(options: bytes) -> Policy:
    """What kept options promise."""
    message = InputStreamOptions.FromString(options)
    return Policy(
        max_payload_bytes=message.max_payload_bytes or None,
        max_unread_records=message.max_unread_records or None,
        drop_oldest=message.when_full == InputStreamOptions.WHEN_FULL_DROP_OLDEST,
        backend_only=message.backend_only,
    )
