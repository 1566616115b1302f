/** What a run asks the server for, and what of that is still unanswered. */

import { create } from "@bufbuild/protobuf";
import type { Checkpoint, Entry } from "../../gen/midstream/v1/entry_pb.js";
import type { Payload } from "../../gen/midstream/v1/record_pb.js";
import type { Failure, Outcome } from "../../gen/midstream/v1/run_pb.js";
import { type WorkRequest, WorkRequestSchema } from "../../gen/midstream/v1/worker_service_pb.js";
import type { Execution } from "../engine/execution.js";
import { toTimestamp } from "../engine/times.js";

export type Asked = "finish" | "restart" | "stepBegan" | "stepEnded" | "suspend" | "timerFired";

/**
 * Builds the frames of one assignment. Every one carries how far the task has come.
 *
 * A call that breaks loses what was under way, so unanswered frames are kept, to be said `again`: the server knows by its
 * operation what it has already.
 */
export class Outbound {
  /** Records that the task has had since the last frame. */
  unreportedRecords = 0;
  private readonly unanswered = new Map<string, WorkRequest>();
  private unconfirmed: Checkpoint[] = [];

  constructor(
    private readonly runId: string,
    private readonly epoch: bigint,
    private readonly send: (request: WorkRequest) => void,
  ) {}

  /** Answered by the entry, or by `early`. */
  append(execution: Execution, entry: Entry): void {
    const value = { ...this.address(), checkpoint: this.checkpoint(execution), entry };
    this.ask(keyOf(entry), create(WorkRequestSchema, { frame: { case: "append", value } }));
  }

  suspend(execution: Execution): void {
    const timers = [...execution.timers.due()].map(([operation, dueUs]) => ({
      operation: BigInt(operation),
      dueTime: toTimestamp(dueUs),
    }));
    const listening = execution.receiver.listening.sort();
    const value = { ...this.address(), checkpoint: this.checkpoint(execution), listening, timers };
    this.ask("suspend", create(WorkRequestSchema, { frame: { case: "suspend", value } }));
  }

  finish(execution: Execution, outcome: Outcome): void {
    const value = { ...this.address(), checkpoint: this.checkpoint(execution), outcome };
    this.ask("finish", create(WorkRequestSchema, { frame: { case: "finish", value } }));
  }

  restart(execution: Execution, payload: Payload): void {
    const value = { ...this.address(), checkpoint: execution.checkpointForRestart(), payload };
    this.ask("restart", create(WorkRequestSchema, { frame: { case: "restart", value } }));
  }

  /** Not answered. Says nothing where nothing has changed. */
  progress(execution: Execution): void {
    const checkpoint = this.checkpoint(execution);
    if (checkpoint.consumed.length === 0 && checkpoint.handlerFailures.length === 0) return;
    this.unconfirmed.push(checkpoint);
    const value = { ...this.address(), checkpoint };
    this.send(create(WorkRequestSchema, { frame: { case: "progress", value } }));
  }

  block(failure: Failure): void {
    this.unanswered.clear();
    this.send(create(WorkRequestSchema, { frame: { case: "block", value: { ...this.address(), failure } } }));
  }

  release(reason: string, died: boolean): void {
    this.unanswered.clear();
    this.send(create(WorkRequestSchema, { frame: { case: "release", value: { ...this.address(), reason, died } } }));
  }

  /** Whether the run's end or its suspension was asked for. */
  get isEnding(): boolean {
    return this.unanswered.has("suspend") || this.unanswered.has("finish") || this.unanswered.has("restart");
  }

  /** An entry of this run was appended, asked for or not. */
  cameBack(entry: Entry): void {
    if (this.unanswered.delete(keyOf(entry))) this.confirm();
  }

  /** `suspend` was refused, or a `timerFired` was early. */
  answered(kind: Asked, operation?: number): void {
    if (this.unanswered.delete(key(kind, operation))) this.confirm();
  }

  asked(kind: Asked, operation?: number): boolean {
    return this.unanswered.has(key(kind, operation));
  }

  /** A new call has begun: what was said on the last one may not have arrived. */
  again(execution: Execution): void {
    for (const checkpoint of this.unconfirmed) execution.reportAgain(checkpoint);
    this.unconfirmed = [];
    for (const request of this.unanswered.values()) this.send(request);
    this.progress(execution);
  }

  private ask(key: string, request: WorkRequest): void {
    this.unanswered.set(key, request);
    this.send(request);
  }

  private address(): { runId: string; epoch: bigint } {
    return { runId: this.runId, epoch: this.epoch };
  }

  private checkpoint(execution: Execution): Checkpoint {
    this.unreportedRecords = 0;
    return execution.checkpoint();
  }

  private confirm(): void {
    // Frames are dealt with in order, so with the last answer everything before it has arrived.
    if (this.unanswered.size === 0) this.unconfirmed = [];
  }
}

function key(kind: string, operation: number | undefined): string {
  return operation === undefined ? kind : `${kind} ${operation}`;
}

function keyOf({ fact }: Entry): string {
  switch (fact.case) {
    case "stepBegan":
    case "stepEnded":
    case "timerFired":
      return key(fact.case, Number(fact.value.operation));
    default:
      return fact.case ?? "";
  }
}
