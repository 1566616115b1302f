"""What must hold for managed runs: their logs, their workers, and what they have come to."""

import json
from collections.abc import Iterator
from itertools import pairwise

from midstream.v1.record_pb2 import Payload
from support.chaos.history import FinalRead, FinalWork, History, Stuck

HEARD, NOTED, STOP = "words", "steer", "stop"
"""The streams of the task that listens, and the word that ends it."""
WORDS_IN_A_STEP = 3


def no_run_is_stuck(history: History, final: FinalRead) -> Iterator[str]:
    """What a run waits for comes, once nothing ails any more."""
    for event in history:
        if isinstance(event, Stuck):
            yield f"{event.run_id} is {event.state} for ever and waits for {event.waits_for}"


def managed_runs_end_well(history: History, final: FinalRead) -> Iterator[str]:
    """No replay meets another log than the one it began with, and nobody gives a run up."""
    for run_id, run in final.items():
        if run.work is not None and run.work.failure:
            yield f"{run_id} is {run.state}: {run.work.failure}"


def memory_is_the_fold_of_the_log(history: History, final: FinalRead) -> Iterator[str]:
    """Each record changes a run's memory exactly once, in order, however often it was killed."""
    for run_id, run in final.items():
        if run.work is None or not isinstance(run.work.result, dict):
            continue
        values: dict[str, list[object]] = {}
        for record in run.records:
            payload = Payload.FromString(bytes.fromhex(record.payload))
            values.setdefault(record.stream_id, []).append(json.loads(payload.json))
        taken = {stream_id: values.get(stream_id, [])[: stream.cursor] for stream_id, stream in run.streams.items()}
        heard, notes = taken.get(HEARD, []), taken.get(NOTED, [])
        if heard[-1:] != [STOP]:
            yield f"{run_id} has ended, and the last word that it has read is not {STOP}: {heard[-1:]}"
            continue
        heard = heard[:-1]
        echoes = list(range(WORDS_IN_A_STEP, len(heard) + 1, WORDS_IN_A_STEP))
        expected = {"heard": heard, "notes": notes, "echoes": echoes}
        for name, fold in expected.items():
            if run.work.result.get(name) != fold:
                yield f"{run_id} remembers {name} {run.work.result.get(name)}, the fold of its log is {fold}"


def logs_have_one_order(history: History, final: FinalRead) -> Iterator[str]:
    """Offsets are 1, 2, 3, ..., time never goes back, and what a worker asks for is there once."""
    for run_id, work in _works(final):
        offsets = [entry.offset for entry in work.entries]
        if offsets != list(range(1, len(offsets) + 1)):
            yield f"{run_id} has the offsets {offsets}"
        for before, after in pairwise(work.entries):
            if after.time_us < before.time_us:
                yield f"{run_id} offset {after.offset} is {before.time_us - after.time_us} us before the one in front"
        keys = [entry.key for entry in work.entries if entry.key]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            yield f"{run_id} has {keys.count(key)} entries for {key}"


def one_epoch_at_a_time(history: History, final: FinalRead) -> Iterator[str]:
    """Workers have a run one after the other, and none says anything to its log once the next one has it."""
    for run_id, work in _works(final):
        for before, after in pairwise(work.assignments):
            if before.epoch >= after.epoch:
                yield f"{run_id} had epoch {after.epoch} of {after.worker} after {before.epoch} of {before.worker}"
            if before.ended_us is None or before.ended_us > after.began_us:
                yield f"{run_id} was with {before.worker} and {after.worker} at once (epochs to {after.epoch})"
        told = [entry for entry in work.entries if entry.epoch is not None]
        for entry, later in pairwise(told):
            assert entry.epoch is not None
            assert later.epoch is not None
            if later.epoch < entry.epoch:
                yield f"{run_id} offset {later.offset} is of epoch {later.epoch}, in front of it is {entry.epoch}"


def _works(final: FinalRead) -> Iterator[tuple[str, FinalWork]]:
    for run_id, run in final.items():
        if run.work is not None:
            yield run_id, run.work
