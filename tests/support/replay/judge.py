"""The verdict on a run that has ended: a plain fold of its final log, compared with all that its lives have done."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

from midstream.runtime.execution import Execution
from midstream.v1.entry_pb2 import Entry
from midstream.v1.run_pb2 import Run
from support.replay.model import ModelServer
from support.replay.outputs import counting
from support.replay.shapes import CHAT, LATE, STOP
from support.replay.typescript import NodeExecution
from support.replay.world import Life, World

Sent = dict[str, tuple[str, int, int]]
Folds = list[tuple[Life, Execution | NodeExecution]]
MakeFold = Callable[[int], Execution | NodeExecution]
"""Of a generation."""

_ONCE = {
    "took": ("by a receive", "in turn"),
    "heard": ("by a handler", "in turn"),
    # A handler that was busy may have it too, when its turn comes.
    "overtook": ("by a receive",),
}
"""A use that a life saw, and what happens to a record once at most."""


def check(make_fold: MakeFold, world: World, server: ModelServer, sent: Sent) -> int:
    """Raises AssertionError, or Diverged. Returns how many things were compared."""
    log = [Entry.FromString(entry.SerializeToString()) for entry in server.entries]
    checks = _log_is_well_formed(log)
    folds = _fold(make_fold, world, server, log)
    checks += _same_result(folds, world, server)
    checks += _lives_are_beginnings(folds, world)
    checks += _records_are_used_once(folds, server, sent, log)
    checks += _readers_see_what_was_meant(folds, server, log)
    for key in world.at_most_once:
        assert world.ran[key] <= 1, f"{key} ran {world.ran[key]} times"
        checks += 1
    for _, execution in folds:
        execution.abandon()
    return checks + world.entries_applied


def _log_is_well_formed(log: list[Entry]) -> int:
    times = [(entry.append_time.seconds, entry.append_time.nanos) for entry in log]
    assert times == sorted(times), "time goes backwards along the log"
    assert [entry.offset for entry in log] == list(range(1, len(log) + 1))
    for kind in ("created", "started", "cancel_requested", "ended"):
        assert sum(entry.HasField(kind) for entry in log) <= 1, f"two {kind} entries"
    return len(log)


def _fold(make_fold: MakeFold, world: World, server: ModelServer, log: list[Entry]) -> Folds:
    """Each generation anew, in one go, from the whole log."""
    folds = []
    for generation in range(server.generation + 1):
        life = Life(generation)
        with world.living(life):
            execution = make_fold(generation)
            if isinstance(execution, NodeExecution):
                execution.fold(log)
            else:
                life.applied_offset = partial(getattr, execution, "applied_offset")
                for entry in log:
                    if not execution.ended and not entry.HasField("ended"):
                        execution.apply(entry)
        folds.append((life, execution))
    return folds


def _same_result(folds: Folds, world: World, server: ModelServer) -> int:
    _, execution = folds[-1]
    if not server.finished_at:
        assert server.state in (Run.STATE_CANCELLED, Run.STATE_EXPIRED), "ended without a worker's word"
        return 1
    assert execution.ended, "the fold does not end where the worker did"
    assert execution.applied_offset == server.finished_at, "the worker ended at another offset"
    told = world.finishes[-1]
    assert told is not None
    outcome = execution.outcome
    assert outcome is not None
    if outcome.WhichOneof("outcome") == "failure":
        raise AssertionError(f"the task failed: {outcome.failure.stack}")
    for each in world.finishes:
        assert each == outcome, f"the fold came to {outcome}, a worker to {each}"
    return 3


def _lives_are_beginnings(folds: Folds, world: World) -> int:
    """Every life saw what the fold saw, in the same order, as far as it came."""
    for life in world.lives:
        whole = folds[life.generation][0].seen if life.generation < len(folds) else None
        assert whole is not None, "a life of a generation that the log does not know"
        assert life.seen == whole[: len(life.seen)], (
            f"a life saw {_first_difference(life.seen, whole)} in generation {life.generation}"
        )
    return sum(len(life.seen) for life in world.lives)


def _first_difference(seen: list[Any], whole: list[Any]) -> str:
    for index, (one, other) in enumerate(zip(seen, whole, strict=False)):
        if one != other:
            return f"{one} as number {index}, the fold {other}"
    return f"{seen[len(whole) :]} behind the fold's end"


def _records_are_used_once(folds: Folds, server: ModelServer, sent: Sent, log: list[Entry]) -> int:
    """In order, none twice, none after it was dropped; what is not used counts as unconsumed."""
    seq_of = {(stream_id, number): seq for stream_id, number, seq in sent.values()}
    dropped_at = _dropped_at(log)
    order: dict[str, list[int]] = {}
    times: Counter[tuple[str, str, int]] = Counter()
    generation_of: dict[tuple[str, int], int] = {}
    for life, _ in folds:
        for what, offset in zip(life.seen, life.seen_at, strict=True):
            if what[0] in _ONCE:
                stream_id, seq = what[1], seq_of[what[1], what[2]]
                begun = generation_of.setdefault((stream_id, seq), life.generation)
                assert begun == life.generation, f"{stream_id} {seq}: used in generations {begun} and {life.generation}"
                if what[0] != "overtook":
                    order.setdefault(stream_id, []).append(seq)
                for way in _ONCE[what[0]]:
                    times[way, stream_id, seq] += 1
                gone = dropped_at.get((stream_id, seq), offset + 1)
                assert offset < gone, f"{stream_id} {seq} is used at {offset}, and was dropped at {gone}"
    assert all(count == 1 for count in times.values()), f"used twice: {[use for use, n in times.items() if n > 1]}"
    for stream_id in {stream_id for stream_id, _, _ in sent.values()}:
        used = order.get(stream_id, [])
        if stream_id in (CHAT, STOP, LATE):
            assert used == sorted(used), f"{stream_id}: used {used}"
        done_with = {seq for stream, seq in (*generation_of, *dropped_at) if stream == stream_id}
        cursor = next(seq for seq in count() if seq + 1 not in done_with)
        assert all(seq <= cursor for seq in used), f"{stream_id}: used {used}, and nobody dropped {cursor + 1}"
        if server.finished_at:
            told = server.cursors.get(stream_id, 0)
            assert told == cursor, f"{stream_id}: used or dropped up to {cursor}, the server was told {told}"
    heard = order.get(CHAT, [])
    sevens = {seq for (stream_id, number), seq in seq_of.items() if stream_id == CHAT and number % 7 == 0}
    failed = {(CHAT, seq) for seq in heard if seq in sevens}
    if server.finished_at:
        told_failures = {(stream_id, seq) for stream_id, seq, _ in server.failures}
        assert told_failures == failed, f"handler failures: {failed} happened, the server was told {told_failures}"
    return len(sent)


def _dropped_at(log: list[Entry]) -> dict[tuple[str, int], int]:
    """The offset from which on nobody may take a record any more, by stream and seq."""
    dropped = [(entry.offset, entry.records_dropped) for entry in log if entry.HasField("records_dropped")]
    return {
        (each.stream_id, seq): offset for offset, each in dropped for seq in range(each.first_seq, each.last_seq + 1)
    }


def _readers_see_what_was_meant(folds: Folds, server: ModelServer, log: list[Entry]) -> int:
    """Of each step the whole answer of one execution; outside of steps what the fold says, in its order."""
    values = counting(server.outputs)
    said = [json.loads(record.payload.json) for _, execution in folds for record in execution.outputs.new]
    outside = [value for value in values if "said" in value]
    assert outside == (said if server.finished_at else said[: len(outside)]), f"{outside} was said, not {said}"
    answers: dict[str, list[Any]] = {}
    for value in values:
        if "step" in value:
            answers.setdefault(value["step"], []).append(value)
    for key, answer in answers.items():
        assert len({value["execution"] for value in answer}) == 1, f"{key}: pieces of several executions in {answer}"
        assert [value["number"] for value in answer] == list(range(len(answer))), f"{key}: {answer}"
    for key in _returned(server, log):
        answer = answers.get(key, [])
        told = bool(answer) and len(answer) == answer[0]["count"]
        assert told, f"{key} has returned, but only {answer} is there"
    return len(values)


def _returned(server: ModelServer, log: list[Entry]) -> Iterator[str]:
    """The keys of the steps that have told all of their answer."""
    generation = 0
    for entry in log:
        generation = entry.restarted.generation or generation
        ended = entry.step_ended
        if ended.HasField("value") and ended.name.startswith("tell"):
            yield f"{server.run_id}:{generation}:{ended.operation}:{ended.name}"
