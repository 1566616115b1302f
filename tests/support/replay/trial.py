"""One trial: a random task, and everything that can happen to it, in a random order; then the verdict."""

import json
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

from midstream.v1.record_pb2 import Payload
from midstream.v1.run_pb2 import Run, RunSpec
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from support.replay import judge
from support.replay.bugs import NO_BUG, Bug, plain_execution
from support.replay.host import Host
from support.replay.model import ModelServer
from support.replay.real import RealRun, RealServers
from support.replay.shapes import APPROVAL, CHAT, LATE, STREAMS, random_shape, task_of
from support.replay.typescript import NodeEngine
from support.replay.world import World

_MAX_MOVES = 30_000
_BUSY_MOVES = 400


class Stuck(AssertionError):
    """The run does not end, whatever is sent to it."""


@dataclass
class Worker:
    """A worker process: at most one host, and a connection."""

    name: str
    connection: Any
    skew_us: int
    host: Host | None = None


@dataclass
class Trial:
    """What came of it; `checks` counts what was compared."""

    seed: int
    checks: int = 0
    counts: Counter[str] = field(default_factory=Counter)


def run_trial(
    seed: int, bug: Bug = NO_BUG, *, servers: RealServers | None = None, node: NodeEngine | None = None
) -> Trial:
    """Against the model, or a real server; of a task in Python, or the same in TypeScript.

    Raises AssertionError, or Diverged, where anything is not as it must be.
    """
    return _Schedule(seed, bug, servers, node).run()


class _Schedule:
    def __init__(self, seed: int, bug: Bug, servers: RealServers | None, node: NodeEngine | None) -> None:
        self.rng = Random(f"schedule {seed}")
        self.seed = seed
        self.world = World()
        shape = random_shape(seed)
        self.task: Any = None
        if node is None:
            self.task = task_of(shape, self.world)
            self.make_execution: Any = bug.make_execution
            self.make_fold: Any = plain_execution
        else:
            node.begin_trial(shape, self.world)
            self.make_execution = self.make_fold = node.make_execution
        deadline_us = self.rng.choice([None, None, None, 20_000_000])
        # Of its own, so that a seed's schedule is what it was.
        bounds = Random(f"bounds {seed}")
        self.keeps = {stream_id: bounds.choice([1, 1, 2, 3]) for stream_id in STREAMS if bounds.random() < 0.2}
        """How many unread records a stream keeps that drops its oldest."""
        spec = RunSpec(task=shape.name, payload=Payload(json='{"from":"outside"}'))
        self.server: Any = (
            ModelServer(self.rng, spec, deadline_us=deadline_us, omissions=bug.omissions, keeps=self.keeps)
            if servers is None
            else RealRun(servers, f"run_{seed}", spec, deadline_us=deadline_us, keeps=self.keeps)
        )
        self.version = WorkRequest.TaskVersion(task=shape.name, code_version="1")
        self.workers: list[Worker] = []
        self.sent: dict[str, tuple[str, int, int]] = {}
        self.cancels = self.rng.random() < 0.25
        self.names = 0
        self.hurried = self.rng.random() < 0.3
        """Suspends at every chance: time passes slowly, hosts move often."""

    def run(self) -> Trial:
        for _ in range(self.rng.randint(0, 3)):
            self.send(self.rng.choice(STREAMS))
        moves = 0
        while not self.server.ended:
            if moves > _MAX_MOVES:
                raise Stuck(f"seed {self.seed}: {Run.State.Name(self.server.state)} after {moves} moves")
            self.move(busy=moves < _BUSY_MOVES)
            moves += 1
            assert not self.server.wakes_nobody(), "suspended with an entry in the log that should have woken it"
        self.server.close()
        for worker in self.workers:
            if worker.host is not None:
                worker.host.kill()
        return self.verdict()

    def move(self, *, busy: bool) -> None:
        rng, server = self.rng, self.server
        chance = rng.random()
        if chance < (0.05 if busy else 0.02):
            self.send(rng.choice(STREAMS) if busy else rng.choice([APPROVAL, APPROVAL, CHAT, LATE]))
        elif chance < 0.14:
            server.advance(int(rng.choice([0.01, 0.05, 0.1, 0.3, 1]) * 1e6))
        elif chance < 0.142:
            if self.cancels and busy:
                server.cancel()
        elif chance < 0.20:
            if len(self.workers) < 2:
                self.start_worker()
        elif chance < 0.203:
            if self.workers:
                self.kill_worker()
        elif chance < 0.208:
            if self.workers:
                self.reconnect(rng.choice(self.workers))
        elif chance < 0.209:
            server.advance(11_000_000)
        elif self.workers:
            self.work(rng.choice(self.workers))

    def send(self, stream_id: str) -> None:
        number = len(self.sent) + 1
        key = f"key-{number}"
        overdue = self.server.overdue()
        seq = self.server.send(stream_id, json.dumps({"i": number}), key)
        fired = {entry.timer_fired.operation for entry in self.server.entries if entry.HasField("timer_fired")}
        assert overdue <= fired, "a record went ahead of a suspended run's timers that were due before it"
        if seq is not None:
            self.sent[key] = (stream_id, number, seq)
            if self.rng.random() < 0.1:
                assert self.server.send(stream_id, json.dumps({"i": number}), key) == seq

    def start_worker(self) -> None:
        self.names += 1
        name = f"worker-{self.seed}-{self.names}"
        opening = WorkRequest(open=WorkRequest.Open(worker_id=name, credit=1, tasks=[self.version]))
        connection = self.server.connect(opening.SerializeToString())
        skew_us = self.rng.choice([0, 200_000, 3_000_000, -3_000_000])
        self.workers.append(Worker(name, connection, skew_us))

    def kill_worker(self) -> None:
        worker = self.rng.choice(self.workers)
        self.workers.remove(worker)
        self.server.disconnect(worker.connection)
        self.world.kills += 1
        if worker.host is not None:
            worker.host.kill()

    def reconnect(self, worker: Worker) -> None:
        self.server.disconnect(worker.connection)
        opening = WorkRequest.Open(worker_id=worker.name, credit=0 if worker.host else 1, tasks=[self.version])
        if worker.host is not None:
            opening.held.append(worker.host.held())
        worker.connection = self.server.connect(WorkRequest(open=opening).SerializeToString())
        if worker.host is not None:
            worker.host.reconnected()

    def work(self, worker: Worker) -> None:
        chance = self.rng.random()
        if chance < 0.45 and worker.connection.inbox:
            self.read(worker)
            while worker.connection.inbox and worker.host and not worker.host.caught_up and self.rng.random() < 0.9:
                self.read(worker)
        elif chance < 0.75 and worker.host is not None and worker.host.outbox:
            before = (len(self.server.entries), self.server.state)
            self.server.write(worker.connection, worker.host.outbox.popleft())
            if worker.host.epoch != self.server.epoch:
                after = (len(self.server.entries), self.server.state)
                assert after == before, "the word of an old epoch counted"
        elif worker.host is not None:
            worker.host.move()
        elif chance > 0.95:
            self.server.write(worker.connection, WorkRequest(heartbeat=WorkRequest.Heartbeat()).SerializeToString())

    def read(self, worker: Worker) -> None:
        response = WorkResponse.FromString(worker.connection.inbox.popleft())
        kind = response.WhichOneof("frame")
        if kind == "assigned":
            assigned = response.assigned
            if worker.host is not None and worker.host.epoch == assigned.epoch:
                worker.host.begin(assigned)
                worker.host.receive(response)
                return
            if worker.host is not None:
                worker.host.kill()
            worker.host = Host(
                self.task,
                self.world,
                self.rng,
                assigned,
                lambda: self.server.now_us + worker.skew_us,
                self.make_execution,
            )
            worker.host.receive(response)
        elif worker.host is not None and kind != "opened":
            body: Any = getattr(response, kind or "")
            if body.epoch != worker.host.epoch:
                return
            worker.host.more_entries = _is_entries(worker.connection.inbox)
            worker.host.receive(response)
            if worker.host.over:
                worker.host.kill()
                worker.host = None
                credit = WorkRequest(credit=WorkRequest.Credit(runs=1))
                self.server.write(worker.connection, credit.SerializeToString())

    def fold(self, generation: int) -> Any:
        return self.make_fold(self.task, run_id=self.server.run_id, generation=generation, host=None)

    def verdict(self) -> Trial:
        trial = Trial(self.seed)
        trial.checks = judge.check(self.fold, self.world, self.server, self.sent)
        trial.counts.update(self.server.counts)
        world = self.world
        trial.counts.update(
            kills=world.kills,
            reconnects=world.reconnects,
            aborted=world.aborted,
            lives=len(world.lives),
            entries=len(self.server.entries),
            **{Run.State.Name(self.server.state): 1},
        )
        return trial


def _is_entries(inbox: deque[bytes]) -> bool:
    return bool(inbox) and WorkResponse.FromString(inbox[0]).HasField("entries")
