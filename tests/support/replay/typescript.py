"""The TypeScript engine in a Node process (client_ts/tests/replay), behind the Python engine's interface."""

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self

from midstream.runtime import entries
from midstream.runtime.errors import Diverged
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.record_pb2 import Payload
from midstream.v1.run_pb2 import Outcome
from midstream.v1.run_service_pb2 import StartRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest
from midstream.v1.worker_service_pb2 import WorkRequest
from support.replay.shapes import Shape
from support.replay.world import World
from support.typescript_worker import CLIENT, node_program


class NodeFailed(AssertionError):
    """The other side, or the task in it, met an error that it did not expect."""


class NodeEngine:
    """Starts the process. `bug` names one that client_ts/tests/replay/bugs.ts plants."""

    def __init__(self, bug: str = "") -> None:
        self._bug = bug
        self._lives = count()
        self.world = World()

    def __enter__(self) -> Self:
        assert (CLIENT / "node_modules/tsx").exists(), "run `make test-ts` once, or `npm ci` in client_ts"
        command = [node_program(), "--import", "tsx", "tests/replay/main.ts"]
        self._process = subprocess.Popen(command, cwd=CLIENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closes its stdin, at which it ends.
        self._process.communicate()

    def begin_trial(self, shape: Shape, world: World) -> None:
        self.world = world
        told = {"parts": shape.parts, "timeout": shape.timeout, "restarts": shape.restarts}
        self.ask("trial", shape=told, bug=self._bug)

    def make_execution(self, task: Any, *, run_id: str, generation: int, host: Any) -> "NodeExecution":
        return NodeExecution(self, next(self._lives), run_id=run_id, generation=generation, host=host)

    def ask(self, op: str, **fields: Any) -> Any:
        """Raises Diverged, as the engine did, or NodeFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise NodeFailed("the Node process has ended")
        answer = json.loads(line)
        if "diverged" in answer:
            raise Diverged(**answer["diverged"])
        if "failed" in answer:
            raise NodeFailed(answer["failed"])
        return answer.get("value")


@dataclass
class _Outputs:
    new: list[WorkRequest.OutputRecord] = field(default_factory=list)


class NodeExecution:
    """As midstream.runtime.execution.Execution, as far as the fuzz's host and judge use it."""

    def __init__(self, engine: NodeEngine, life: int, *, run_id: str, generation: int, host: Any) -> None:
        self.applied_offset = 0
        self.ended = False
        self.suspendable = False
        self.listening: frozenset[str] = frozenset()
        self.timers: dict[int, int] = {}
        self.steps: Mapping[int, NodeStep] = {}
        self.cancelled_steps: set[int] = set()
        self.outputs = _Outputs()
        self.outcome: Outcome | None = None
        self.restart: Payload | None = None
        self._engine = engine
        self._number = life
        self._host = host
        self._life = engine.world.life
        self._life.applied_offset = lambda: self.applied_offset
        self._replayed: list[Entry] = []
        self._ask("begin", runId=run_id, generation=generation)

    def apply(self, entry: Entry) -> None:
        """An entry that is only replayed goes over with the one that ends the replay: nothing is asked before."""
        host = self._host
        self._replayed.append(entry)
        self.applied_offset = entry.offset
        if entry.offset >= host.last_offset:
            live = entry.offset > host.last_offset
            self._apply(live=live, more=host.more_entries, nowUs=host.now_us)

    def fold(self, log: Iterable[Entry]) -> None:
        """Applies all, until the run ends."""
        self._replayed += [entry for entry in log if not entry.HasField("ended")]
        self._apply(live=False, more=False, nowUs=0)

    def _apply(self, **circumstances: Any) -> None:
        state = self._ask("apply", entries=[_text(entry) for entry in self._replayed], **circumstances)
        self._replayed.clear()
        for offset, what in state["seen"]:
            self.applied_offset = offset
            self._life.see(*what)
        self.applied_offset, self.ended, self.suspendable = state["appliedOffset"], state["ended"], state["suspendable"]
        self.listening = frozenset(state["listening"])
        self.timers = {operation: int(due_us) for operation, due_us in state["timers"]}
        self.steps = {step["operation"]: NodeStep(self._engine, self._number, step) for step in state["steps"]}
        self.cancelled_steps.update(state["cancelled"])
        self.outputs.new += [WorkRequest.OutputRecord.FromString(_bytes(each)) for each in state["outputs"]]
        self.outcome = Outcome.FromString(_bytes(state["outcome"])) if "outcome" in state else None
        self.restart = Payload.FromString(_bytes(state["restart"])) if "restart" in state else None

    def check(self, checkpoint: Checkpoint) -> None:
        self._ask("check", checkpoint=_text(checkpoint))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint.FromString(_bytes(self._ask("checkpoint", all=False)))

    def checkpoint_for_restart(self) -> Checkpoint:
        return Checkpoint.FromString(_bytes(self._ask("checkpoint", all=True)))

    def report_again(self, lost: Checkpoint) -> None:
        self._ask("report", checkpoint=_text(lost))

    def abandon(self) -> None:
        self._ask("abandon")

    def _ask(self, op: str, **fields: Any) -> Any:
        return self._engine.ask(op, life=self._number, **fields)


class NodeStep:
    """A pending step. Its function runs in the Node process, its calls to the server are the test's to answer."""

    def __init__(self, engine: NodeEngine, life: int, told: Mapping[str, Any]) -> None:
        self._engine = engine
        self._life = life
        self._request = told["request"]
        self._kind = told["kind"]
        self.operation: int = told["operation"]
        self.name: str = told["name"]
        self.key: str = told["key"]
        self.attempt: int = told["attempt"]
        self.at_most_once: bool = told["atMostOnce"]
        self.not_before_us = int(told["notBeforeUs"])
        self.begun_epoch: int | None = told.get("begunEpoch")

    def began(self, epoch: int) -> Entry:
        return entries.step_began(self.operation, epoch, name=self.name)

    def interrupted(self) -> Entry:
        return entries.step_interrupted(self.operation, self.attempt, name=self.name)

    def run(self, world: World, said: list[WorkRequest.OutputRecord]) -> Entry:
        """One attempt: the entry that ends it. What it appends to output streams goes to `said`."""
        if self._kind == "send":
            request = SendOneRequest.FromString(_bytes(self._request))
            seq = world.deliver(request.records[0].idempotency_key, request.records[0].payload.json)
            return self._returned({"seq": seq, "offset": seq, "deduplicated": False})
        if self._kind == "start_run":
            start = StartRunRequest.FromString(_bytes(self._request))
            return self._returned({"id": start.run_id, "task": start.spec.task})
        done = self._engine.ask("run", life=self._life, operation=self.operation)
        said += [WorkRequest.OutputRecord.FromString(_bytes(each)) for each in done["outputs"]]
        return Entry.FromString(_bytes(done["entry"]))

    def _returned(self, value: Any) -> Entry:
        return entries.step_returned(self.operation, self.attempt, Payload(json=json.dumps(value)), name=self.name)


def _text(message: Any) -> str:
    return base64.b64encode(message.SerializeToString()).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
