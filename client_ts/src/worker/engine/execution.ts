/** One generation of a run, rebuilt from its log and carried on, one entry at a time. */

import { create } from "@bufbuild/protobuf";
import {
  type Checkpoint,
  CheckpointSchema,
  ConsumedSchema,
  type Entry,
  type Entry_Restarted,
} from "../../gen/midstream/v1/entry_pb.js";
import type { Payload } from "../../gen/midstream/v1/record_pb.js";
import { type Outcome, Outcome_CancelledSchema, OutcomeSchema } from "../../gen/midstream/v1/run_pb.js";
import {
  type WorkRequest_OutputRecord,
  WorkRequest_OutputRecordSchema,
} from "../../gen/midstream/v1/worker_service_pb.js";
import { toRecord } from "../../models.js";
import { RecordInvalid } from "../../record-invalid.js";
import type { Task } from "../task.js";
import { TaskContext } from "./context.js";
import "./views.js";
import { LANGUAGE, OtherRuntime, RecordUnreadable, RunCancelled, type UnjournaledAwait } from "./errors.js";
import { failureOf } from "./failures.js";
import { Operations } from "./operations.js";
import { decodePayload, encodeResult } from "./payloads.js";
import { RunRandom } from "./random.js";
import { ManagedReceiver } from "./receiver.js";
import { inScope } from "./scope.js";
import { Steps } from "./steps.js";
import { Timers } from "./timers.js";
import { toUs } from "./times.js";
import { Turn } from "./turn.js";

const TIMED = ["timer", "once", "wait", "wait_any"] as const;

/** Leaves the task's function for `restartWith`. */
export class Restart extends Error {
  override readonly name = "Restart";
}

/** How the task's function ended. */
type Settled = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown };

export interface ExecutionOptions {
  readonly runId: string;
  readonly generation?: number;
  /** Told that the task went on between two turns, after real I/O outside a step: `takeStrayTurn` is due. */
  readonly onStray?: () => void;
  /** Told what nobody else will hear of, such as a handler that threw. */
  readonly report?: (text: string, error: unknown) => void;
}

/**
 * Applies entries; says what the task then waits for, and how it ended.
 *
 * The whole log may be applied to any generation: what belongs to earlier ones is skipped, but for the records that they
 * left unconsumed. Steps are carried out, and timers watched, by the host, which asks the server for the entries that end
 * them; between two turns nothing happens to the task.
 */
export class Execution {
  readonly runId: string;
  readonly generation: number;
  readonly operations = new Operations();
  readonly timers = new Timers();
  readonly turn = new Turn();
  readonly steps: Steps;
  readonly receiver: ManagedReceiver;
  appliedOffset = 0;
  /** Entries up to here were applied before, by this run's former processes: the host says so. */
  replayThrough = 0;
  /** The run has ended, or is to be restarted: nothing more will happen. */
  ended = false;
  outcome: Outcome | undefined;
  restart: Payload | undefined;
  /** What the task has appended to output streams; the host empties it. */
  readonly newOutputs: WorkRequest_OutputRecord[] = [];
  private payload: Payload | undefined;
  private random = new RunRandom(new Uint8Array(), 0);
  private begunOffset: number | undefined;
  private carried: Entry[] = [];
  private settled: Settled | undefined;
  private restartRequested: Payload | undefined;
  private closed = false;
  private readonly cancelling = new AbortController();
  private trespass: UnjournaledAwait | undefined;
  private inTurn = false;
  private readonly stray: () => void;

  constructor(
    readonly task: Task<never, unknown>,
    options: ExecutionOptions,
  ) {
    this.runId = options.runId;
    this.generation = options.generation ?? 0;
    this.steps = new Steps(this.operations, `${this.runId}:${this.generation}`);
    this.stray = () => {
      if (!this.inTurn && !this.ended) options.onStray?.();
    };
    this.operations.onIssue = this.stray;
    const report = options.report ?? (() => undefined);
    const quiet = (): boolean => this.replaying;
    this.receiver = new ManagedReceiver(this.runId, this.operations, this.timers, this.turn, quiet, report);
  }

  // What the host reads.

  get nowUs(): number {
    return this.turn.nowUs;
  }

  get replaying(): boolean {
    return this.appliedOffset <= this.replayThrough;
  }

  get cancelSignal(): AbortSignal {
    return this.cancelling.signal;
  }

  /** Nothing is under way that needs this process, and something is waited for that does not. */
  get suspendable(): boolean {
    if (this.begunOffset === undefined || this.ended || this.steps.size > 0) return false;
    const { once, waits } = this.receiver.pending;
    return once === 0 && (waits > 0 || this.timers.size > 0);
  }

  // What the host does.

  /**
   * Takes one turn; the next one may begin when it has resolved. Rejects with CannotGoOn, after which the execution is of
   * no more use. Does nothing when the function has ended: a run ends at that offset, whatever comes behind it.
   */
  async apply(entry: Entry): Promise<void> {
    if (entry.checkpoint !== undefined) this.checkEntry(entry, entry.checkpoint);
    if (this.ended) return;
    this.turn.nowUs = toUs(entry.appendTime);
    if (!this.begins(entry)) return;
    await this.takeTurn(() => this.applyFact(entry));
  }

  /** Carries on what the task began between two turns. No replay is certain to do the same. */
  async takeStrayTurn(): Promise<void> {
    if (!this.ended) await this.takeTurn(() => undefined);
  }

  /** How far the task has come, and what has changed since the last call: send each one that you ask for. */
  checkpoint(): Checkpoint {
    const checkpoint = create(CheckpointSchema, {
      appliedOffset: BigInt(this.appliedOffset),
      operations: BigInt(this.operations.count),
      operationsHash: this.operations.hash,
    });
    for (const inbox of this.receiver.all) {
      const { cursor } = inbox.buffer.tracker;
      if (cursor === inbox.reportedCursor) continue;
      inbox.reportedCursor = cursor;
      checkpoint.consumed.push(create(ConsumedSchema, { streamId: inbox.streamId, cursor: BigInt(cursor) }));
    }
    checkpoint.handlerFailures.push(...this.receiver.newFailures.splice(0));
    return checkpoint;
  }

  /** As `checkpoint`, with all that was consumed of every stream: the next generation begins from it. */
  checkpointForRestart(): Checkpoint {
    const checkpoint = this.checkpoint();
    checkpoint.consumed = [];
    for (const { streamId, buffer } of this.receiver.all) {
      const { cursor, beyond: ranges } = buffer.tracker;
      if (cursor === 0 && ranges.length === 0) continue;
      const beyond = ranges.map(([first, last]) => ({ firstSeq: BigInt(first), lastSeq: BigInt(last) }));
      checkpoint.consumed.push(create(ConsumedSchema, { streamId, cursor: BigInt(cursor), beyond }));
    }
    return checkpoint;
  }

  /** The frame with this checkpoint did not arrive: the next one is to say what it said. */
  reportAgain(lost: Checkpoint): void {
    for (const { streamId } of lost.consumed) this.receiver.inbox(streamId).reportedCursor = 0;
    this.receiver.newFailures.unshift(...lost.handlerFailures);
  }

  /** Compares with what another worker said, now or when that offset has been applied. Throws Diverged. */
  check(checkpoint: Checkpoint): void {
    this.operations.check(checkpoint, this.appliedOffset);
    if (this.ended) this.operations.functionEnded(this.appliedOffset);
  }

  /** The task's code asked for real I/O outside a step: the run fails at the end of this turn. */
  trespassed(error: UnjournaledAwait): void {
    this.trespass ??= error;
  }

  /** Drops the task where it stands. For hosts that share a process between runs, such as tests. */
  abandon(): void {
    this.ended = true;
    this.timers.clear();
    this.turn.clear();
  }

  // What the context asks for.

  get runRandom(): RunRandom {
    return this.random;
  }

  sleep(us: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (us <= 0) return new Promise((resolve) => this.turn.callSoon(resolve));
    const operation = this.operations.issue("timer");
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.timers.disarm(operation);
        for (const each of [signal, this.cancelSignal]) each?.removeEventListener("abort", abort);
      };
      const abort = (event: Event): void => {
        leave();
        reject((event.target as AbortSignal).reason);
      };
      // After the one cancel that a run gets, clean-up may sleep.
      const signals = this.cancelSignal.aborted ? [signal] : [signal, this.cancelSignal];
      for (const each of signals) each?.addEventListener("abort", abort, { once: true });
      this.timers.arm(operation, this.nowUs + us, () => {
        leave();
        resolve();
      });
    });
  }

  /** An operation: a replay issues it again, and the server, which knows it by its number, does not store it again. */
  appendOutput(streamId: string, payload: Payload, metadata: Record<string, string>): void {
    const operation = BigInt(this.operations.issue("output", streamId));
    this.newOutputs.push(create(WorkRequest_OutputRecordSchema, { streamId, payload, metadata, operation }));
  }

  requestRestart(state: unknown): never {
    this.restartRequested = encodeResult(state);
    throw new Restart("the run is restarted");
  }

  // One turn.

  private checkEntry(entry: Entry, checkpoint: Checkpoint): void {
    // What was said about an earlier generation is not about these operations.
    if (this.begunOffset !== undefined && Number(checkpoint.appliedOffset) >= this.begunOffset) this.check(checkpoint);
  }

  /** False for an entry of an earlier generation, from which only records are kept. */
  private begins(entry: Entry): boolean {
    const { fact } = entry;
    const offset = Number(entry.offset);
    if (fact.case === "created") this.payload = fact.value.spec?.payload;
    else if (fact.case === "started") {
      const { seed, runtime } = fact.value;
      checkLanguage(runtime);
      this.random = new RunRandom(seed, 0);
    }
    if (this.begunOffset !== undefined || this.generation === 0) {
      if (this.appliedOffset > 0 && offset !== this.appliedOffset + 1) {
        throw new Error(`expected the entry at offset ${this.appliedOffset + 1}, got ${offset}`);
      }
      this.appliedOffset = offset;
      return true;
    }
    this.appliedOffset = offset;
    if (fact.case === "restarted" && Number(fact.value.generation) === this.generation) return true;
    if (fact.case === "record" || fact.case === "recordsDropped") this.carried.push(entry);
    return false;
  }

  private async takeTurn(begin: () => void): Promise<void> {
    this.inTurn = true;
    try {
      // In the task's scope, for listeners of its signals: what aborts them runs them.
      await inScope({ execution: this }, () => this.runTurn(begin));
    } finally {
      this.inTurn = false;
    }
    if (this.ended) this.operations.functionEnded(this.appliedOffset);
    else this.operations.turnEnded(this.appliedOffset);
  }

  private async runTurn(begin: () => void): Promise<void> {
    begin();
    await this.turn.runDry();
    if (this.begunOffset === undefined) return;
    while (this.settled === undefined && this.trespass === undefined && this.receiver.handOut()) {
      await this.turn.runDry();
    }
    this.receiver.turnEnded();
    if (this.trespass !== undefined) this.conclude({ ok: false, error: this.trespass });
    else if (this.settled !== undefined) await this.windUp(this.settled);
  }

  private applyFact(entry: Entry): void {
    const { fact } = entry;
    const offset = Number(entry.offset);
    switch (fact.case) {
      case "record":
        this.receiver.put(toRecord(fact.value));
        break;
      case "recordsDropped":
        this.receiver.drop(fact.value);
        break;
      case "stepEnded":
        this.steps.ended(fact.value, offset, this.nowUs);
        break;
      case "timerFired": {
        const operation = Number(fact.value.operation);
        this.operations.expect(operation, TIMED, "timer or a receive with a timeout", offset);
        this.timers.fire(operation);
        break;
      }
      case "stepBegan":
        this.steps.began(fact.value, offset);
        break;
      case "cancelRequested":
        this.cancel();
        break;
      case "started":
        if (this.generation === 0) this.begin(offset);
        break;
      case "restarted":
        if (Number(fact.value.generation) === this.generation) this.beginGeneration(fact.value, entry, offset);
        else this.ended = true;
        break;
    }
  }

  private beginGeneration(restarted: Entry_Restarted, entry: Entry, offset: number): void {
    checkLanguage(restarted.runtime);
    this.payload = restarted.payload;
    // A later generation's log begins here: the seed must come from what is in it.
    this.random = new RunRandom(new TextEncoder().encode(`${this.runId}:${this.nowUs}`), this.generation);
    this.carryOver(entry.checkpoint);
    this.begin(offset);
  }

  /** Takes the records that the generations before left unconsumed. */
  private carryOver(checkpoint: Checkpoint | undefined): void {
    for (const { streamId, cursor, beyond } of checkpoint?.consumed ?? []) {
      const inbox = this.receiver.inbox(streamId);
      inbox.buffer.startBehind(Number(cursor));
      inbox.reportedCursor = Number(cursor);
      for (const { firstSeq, lastSeq } of beyond) inbox.buffer.tracker.skip(Number(firstSeq), Number(lastSeq));
    }
    for (const entry of this.carried) if (!this.isConsumed(entry)) this.applyFact(entry);
    this.carried = [];
  }

  private isConsumed({ fact }: Entry): boolean {
    if (fact.case !== "record") return false;
    return this.receiver.inbox(fact.value.streamId).buffer.tracker.isFinished(Number(fact.value.seq));
  }

  /** Calls the function. */
  private begin(offset: number): void {
    this.begunOffset = offset;
    const payload = decodePayload(this.payload) as never;
    const main = async () => this.task.run(payload, new TaskContext(this));
    main().then(
      (value) => {
        this.settled = { ok: true, value };
        this.stray();
      },
      (error: unknown) => {
        this.settled = { ok: false, error };
        this.stray();
      },
    );
  }

  /** Once: whatever is awaited throws. What the clean-up then awaits is left alone. */
  private cancel(): void {
    if (this.begunOffset === undefined || this.cancelling.signal.aborted) return;
    const error = new RunCancelled(this.runId);
    this.steps.cancelAll(error);
    this.receiver.cancelAll(error);
    this.cancelling.abort(error);
  }

  /** The function has ended. The run has when its handlers' calls have; what else it left behind is dropped. */
  private async windUp(settled: Settled): Promise<void> {
    if (!this.closed) {
      this.closed = true;
      this.receiver.close();
      await this.turn.runDry();
    }
    if (this.receiver.calls > 0) return;
    this.steps.cancelAll(new Error(`the function of run ${this.runId} has ended`));
    this.timers.clear();
    await this.turn.runDry();
    this.conclude(settled);
  }

  private conclude(settled: Settled): void {
    this.ended = true;
    if (settled.ok) {
      try {
        this.outcome = create(OutcomeSchema, { outcome: { case: "result", value: encodeResult(settled.value) } });
      } catch (problem) {
        this.fail(problem);
      }
    } else if (settled.error instanceof Restart && this.restartRequested !== undefined) {
      this.restart = this.restartRequested;
    } else if (settled.error instanceof RunCancelled && this.cancelling.signal.aborted) {
      const value = create(Outcome_CancelledSchema);
      this.outcome = create(OutcomeSchema, { outcome: { case: "cancelled", value } });
    } else {
      if (settled.error instanceof RecordInvalid) throw new RecordUnreadable(settled.error);
      this.fail(settled.error);
    }
  }

  private fail(error: unknown): void {
    this.outcome = create(OutcomeSchema, { outcome: { case: "failure", value: failureOf(error) } });
  }
}

/** Of the worker that began the generation. Throws OtherRuntime. */
function checkLanguage(runtime: string): void {
  if (runtime !== "" && !runtime.startsWith(LANGUAGE)) throw new OtherRuntime(runtime);
}
