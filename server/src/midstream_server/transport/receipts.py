"""Turns what became of records into receipts."""

from collections.abc import Iterable, Sequence

from midstream.v1.record_pb2 import NewRecord
from midstream.v1.stream_service_pb2 import Receipt, SendResponse
from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Refused
from midstream_server.transport import wire
from midstream_server.transport.status import to_status


def encode_receipts(client_refs: Iterable[int], outcomes: Sequence[Accepted | Refused]) -> bytes:
    """A SendResponse, or a SendOneResponse: they have the same one field."""
    receipts = [
        wire.accepted_receipt(client_ref, outcome) if isinstance(outcome, Accepted) else _refused(client_ref, outcome)
        for client_ref, outcome in zip(client_refs, outcomes, strict=True)
    ]
    return b"".join(receipts)


def _refused(client_ref: int, refused: Refused) -> bytes:
    receipt = Receipt(client_ref=client_ref, error=to_status(refused))
    return SendResponse(receipts=[receipt]).SerializeToString()


def client_refs(records: Iterable[NewRecord]) -> list[int]:
    return [record.client_ref for record in records]
