"""The final read: what the public API shows when everything is over."""

from collections.abc import Sequence

from midstream.v1.run_service_pb2 import GetRunRequest
from midstream.v1.stream_service_pb2 import ListRecordsRequest
from support.chaos.history import FinalRead, FinalRun, FinalStream, SeenRecord
from support.chaos.wire import Refusal, Wire, call_until_answered, run_state, seen


async def read_final(address: str, run_ids: Sequence[str]) -> FinalRead:
    """Each run with every page of its records. A run that is gone is missing."""
    wire = Wire(address)
    final: FinalRead = {}
    try:
        for run_id in run_ids:
            try:
                run = (await call_until_answered(wire.runs.GetRun, GetRunRequest(run_id=run_id))).run
                records = await _list_records(wire, run_id)
            except Refusal:
                continue
            streams = {s.stream_id: FinalStream(s.last_seq, s.cursor, s.unread_count) for s in run.streams}
            final[run_id] = FinalRun(run_state(run), streams, tuple(records))
    finally:
        await wire.close()
    return final


async def _list_records(wire: Wire, run_id: str) -> list[SeenRecord]:
    records: list[SeenRecord] = []
    request = ListRecordsRequest(run_id=run_id, page_size=500)
    while True:
        page = await call_until_answered(wire.streams.ListRecords, request)
        records += [seen(record) for record in page.records]
        if not page.next_page_token:
            return records
        request.page_token = page.next_page_token
