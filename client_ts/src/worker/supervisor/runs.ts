/** The runs that a worker has: what the server says goes to whoever executes them, and back. */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Entry } from "../../gen/midstream/v1/entry_pb.js";
import {
  type WorkRequest,
  type WorkResponse,
  WorkRequestSchema,
  type WorkResponse_Assigned,
  WorkResponseSchema,
} from "../../gen/midstream/v1/worker_service_pb.js";
import type { FromThread, ToThread } from "../pool/messages.js";
import type { Executor } from "../pool/executor.js";
import type { Report } from "./report.js";

export interface RunsOptions {
  readonly take: () => Executor;
  readonly send: (frame: WorkRequest) => boolean;
  /** Makes a run's call to the server. */
  readonly call: (message: Extract<FromThread, { kind: "call" }>) => Promise<ToThread>;
  readonly report: Report;
  /** A run has gone, so that another may come. */
  readonly onFree: () => void;
}

/** One assignment. */
interface AssignedRun {
  readonly runId: string;
  readonly epoch: bigint;
  readonly task: string;
  readonly thread: Executor;
  receivedOffset: bigint;
  outcome: string;
}

/** By run id. One thread each, which is ended when the run is no longer this worker's. */
export class Runs {
  private readonly runs = new Map<string, AssignedRun>();
  private undelivered: { readonly run: AssignedRun; readonly frame: WorkRequest }[] = [];
  private readonly trespasses = new Set<string>();
  private whenEmpty: (() => void)[] = [];

  constructor(private readonly options: RunsOptions) {}

  get size(): number {
    return this.runs.size;
  }

  [Symbol.iterator](): Iterator<AssignedRun> {
    return [...this.runs.values()][Symbol.iterator]();
  }

  /** What to hold on to in a new call: also the runs of which something is still to be said, such as a death. */
  held(): AssignedRun[] {
    return [...this, ...this.undelivered.map(({ run }) => run)];
  }

  untilEmpty(): Promise<void> {
    if (this.runs.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.whenEmpty.push(resolve);
    });
  }

  // What the server says.

  received(response: WorkResponse): void {
    const { frame } = response;
    switch (frame.case) {
      case "assigned":
        this.assigned(frame.value, response);
        break;
      case "entries": {
        const run = this.find(frame.value);
        if (run === undefined) return;
        run.receivedOffset = lastOf(frame.value.entries) || run.receivedOffset;
        deliver(run, response);
        break;
      }
      case "suspendRefused":
      case "outputStored":
      case "early": {
        const run = this.find(frame.value);
        if (run !== undefined) deliver(run, response);
        break;
      }
      case "suspended":
      case "finished":
      case "fenced": {
        const run = this.find(frame.value);
        if (run !== undefined) this.ended(run, frame.case);
        break;
      }
    }
  }

  /** A new call has begun: what could not be said is said now, by the runs and about those that died. */
  opened(response: WorkResponse): void {
    for (const { frame } of this.undelivered.splice(0)) this.options.send(frame);
    this.relayToAll(response);
  }

  relayToAll(response: WorkResponse): void {
    for (const run of this) deliver(run, response);
  }

  // What the worker does.

  /** Ends its thread; the server queues the run for another worker. */
  giveBack(run: AssignedRun, reason: string): void {
    this.drop(run);
    this.release(run, reason, false);
    this.options.report({ event: "run_released", run_id: run.runId, task: run.task, reason });
  }

  /** Without a word to anybody: their leases run out. */
  killAll(): void {
    for (const run of this) this.drop(run);
  }

  private assigned(assigned: WorkResponse_Assigned, response: WorkResponse): void {
    const { runId, epoch, task } = assigned;
    const known = this.runs.get(runId);
    if (known !== undefined && known.epoch === epoch) {
      // It begins a new generation, in the thread that it has.
      known.receivedOffset = lastOf(assigned.entries);
      deliver(known, response);
      return;
    }
    if (known !== undefined) this.drop(known);
    const run: AssignedRun = {
      runId,
      epoch,
      task,
      thread: this.options.take(),
      receivedOffset: lastOf(assigned.entries),
      outcome: "",
    };
    this.runs.set(runId, run);
    run.thread.begin({
      said: (message) => this.said(run, message),
      died: (how) => this.died(run, how),
    });
    deliver(run, response);
    this.options.report({
      event: "run_assigned",
      run_id: runId,
      task,
      epoch: Number(epoch),
      entries: Number(assigned.lastOffset),
      resumed: assigned.suspended !== undefined,
    });
  }

  private ended(run: AssignedRun, how: "fenced" | "finished" | "suspended"): void {
    this.drop(run);
    const { runId: run_id, task, outcome } = run;
    if (how === "suspended") this.options.report({ event: "run_suspended", run_id, task });
    else if (how === "finished") this.options.report({ event: "run_finished", run_id, task, outcome });
    else this.options.report({ event: "run_fenced", run_id, task });
  }

  private said(run: AssignedRun, message: FromThread): void {
    if (this.runs.get(run.runId) !== run) return;
    switch (message.kind) {
      case "frame":
        this.saidFrame(run, fromBinary(WorkRequestSchema, message.frame));
        break;
      case "call":
        void this.options.call(message).then((answer) => run.thread.deliver(answer));
        break;
      case "log":
        this.options.report({ event: "log", level: message.level, run_id: message.runId, text: message.text });
        break;
      case "trespass":
        this.trespassed(run, message);
        break;
    }
  }

  /** Once for each task and kind, however many runs and replays meet it. */
  private trespassed({ task }: AssignedRun, { runId, what, text }: Extract<FromThread, { kind: "trespass" }>): void {
    const trespass = `${task} ${what}`;
    if (this.trespasses.has(trespass)) return;
    this.trespasses.add(trespass);
    this.options.report({ event: "log", level: "error", run_id: runId, text });
  }

  private saidFrame(run: AssignedRun, request: WorkRequest): void {
    const sent = this.options.send(request);
    const { frame } = request;
    const { runId: run_id, task } = run;
    switch (frame.case) {
      case "finish": {
        const outcome = frame.value.outcome?.outcome;
        run.outcome =
          outcome?.case === "failure"
            ? `failed with ${outcome.value.errorType}: ${outcome.value.message}`
            : outcome?.case === "cancelled"
              ? "cancelled"
              : "completed";
        break;
      }
      case "block":
      case "release": {
        if (!sent) this.undelivered.push({ run, frame: request });
        this.drop(run);
        if (frame.case === "block") {
          this.options.report({ event: "run_blocked", run_id, task, message: frame.value.failure?.message ?? "" });
        } else if (frame.value.died) {
          this.options.report({ event: "run_died", run_id, task, how: `gave up: ${frame.value.reason}` });
        } else {
          this.options.report({ event: "run_released", run_id, task, reason: frame.value.reason });
        }
        break;
      }
    }
  }

  private died(run: AssignedRun, how: string): void {
    if (this.runs.get(run.runId) !== run) return;
    this.drop(run);
    this.release(run, how, true);
    this.options.report({ event: "run_died", run_id: run.runId, task: run.task, how });
  }

  private release(run: AssignedRun, reason: string, died: boolean): void {
    const { runId, epoch } = run;
    const frame = create(WorkRequestSchema, { frame: { case: "release", value: { runId, epoch, reason, died } } });
    if (!this.options.send(frame)) this.undelivered.push({ run, frame });
  }

  private find({ runId, epoch }: { runId: string; epoch: bigint }): AssignedRun | undefined {
    const run = this.runs.get(runId);
    return run?.epoch === epoch ? run : undefined;
  }

  private drop(run: AssignedRun): void {
    void run.thread.kill();
    this.runs.delete(run.runId);
    if (this.runs.size === 0) for (const wake of this.whenEmpty.splice(0)) wake();
    this.options.onFree();
  }
}

function lastOf(entries: readonly Entry[]): bigint {
  return entries.at(-1)?.offset ?? 0n;
}

function deliver(run: AssignedRun, response: WorkResponse): void {
  run.thread.deliver({ kind: "frame", frame: toBinary(WorkResponseSchema, response) });
}
