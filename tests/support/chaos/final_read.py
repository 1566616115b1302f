"""The final read: what the public API shows when everything is over."""

import json
from collections.abc import Sequence

from midstream.v1.entry_pb2 import Entry
from midstream.v1.run_pb2 import Run
from midstream.v1.run_service_pb2 import GetRunRequest, ListEntriesRequest
from midstream.v1.stream_service_pb2 import ListRecordsRequest
from support.chaos.history import (
    FinalAssignment,
    FinalEntry,
    FinalRead,
    FinalRun,
    FinalStream,
    FinalWork,
    SeenRecord,
)
from support.chaos.wire import Refusal, Wire, call_until_answered, run_state, seen


async def read_final(address: str, run_ids: Sequence[str]) -> FinalRead:
    """Each run with every page of its records, and a managed one with its log. A run that is gone is missing."""
    wire = Wire(address)
    final: FinalRead = {}
    try:
        for run_id in run_ids:
            try:
                run = (await call_until_answered(wire.runs.GetRun, GetRunRequest(run_id=run_id))).run
                records = await _list_records(wire, run_id)
                work = await _read_work(wire, run) if run.kind == Run.KIND_MANAGED else None
            except Refusal:
                continue
            streams = {s.stream_id: FinalStream(s.last_seq, s.cursor, s.unread_count) for s in run.streams}
            final[run_id] = FinalRun(run_state(run), streams, tuple(records), work)
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


async def _read_work(wire: Wire, run: Run) -> FinalWork:
    entries: list[FinalEntry] = []
    assignments: list[FinalAssignment] = []
    request = ListEntriesRequest(run_id=run.run_id, page_size=1_000)
    while True:
        page = await call_until_answered(wire.runs.ListEntries, request)
        entries += [_entry(entry) for entry in page.entries]
        assignments += [
            FinalAssignment(
                each.epoch,
                each.worker_id,
                each.assign_time.ToMicroseconds(),
                each.end_time.ToMicroseconds() if each.HasField("end_time") else None,
            )
            for each in page.assignments
        ]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    return FinalWork(
        tuple(entries),
        tuple(assignments),
        result=json.loads(run.result.json) if run.HasField("result") else None,
        failure=str(run.failure).strip() if run.HasField("failure") else "",
    )


def _entry(entry: Entry) -> FinalEntry:
    fact = entry.WhichOneof("fact") or "none"
    key, epoch = "", None
    if fact == "step_began":
        key, epoch = f"step {entry.step_began.operation} began", entry.step_began.epoch
    elif fact == "step_ended":
        key = f"step {entry.step_ended.operation} ended, attempt {entry.step_ended.attempt}"
    elif fact == "timer_fired":
        key = f"timer {entry.timer_fired.operation}"
    elif fact in ("cancel_requested", "ended", "created", "started"):
        key = fact
    return FinalEntry(entry.offset, entry.append_time.ToMicroseconds(), fact, key, epoch)
