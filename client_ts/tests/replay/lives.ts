/** The lives of one run, each an execution of the engine; what the host asks of them. */

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CheckpointSchema, EntrySchema } from "../../src/gen/midstream/v1/entry_pb.js";
import { PayloadSchema } from "../../src/gen/midstream/v1/record_pb.js";
import { OutcomeSchema } from "../../src/gen/midstream/v1/run_pb.js";
import { StartRunRequestSchema } from "../../src/gen/midstream/v1/run_service_pb.js";
import { SendOneRequestSchema } from "../../src/gen/midstream/v1/stream_service_pb.js";
import { WorkRequest_OutputRecordSchema } from "../../src/gen/midstream/v1/worker_service_pb.js";
import { stepEnded, type StepResult } from "../../src/worker/engine/entries.js";
import { failureOf } from "../../src/worker/engine/failures.js";
import { encodeResult } from "../../src/worker/engine/payloads.js";
import type { PendingStep } from "../../src/worker/engine/pending-step.js";
import { inScope } from "../../src/worker/engine/scope.js";
import type { AnyTask } from "../../src/worker/task.js";
import { type Circumstances, EXECUTIONS, type Observed } from "./bugs.js";
import { type Shape, taskOf } from "./shape.js";
import { Life, World } from "./world.js";

export type Request =
  | { readonly op: "trial"; readonly shape: Shape; readonly bug: string }
  | { readonly op: "begin"; readonly life: number; readonly runId: string; readonly generation: number }
  | ({ readonly op: "apply"; readonly life: number; readonly entries: readonly string[] } & Circumstances)
  | { readonly op: "check" | "report"; readonly life: number; readonly checkpoint: string }
  | { readonly op: "checkpoint"; readonly life: number; readonly all: boolean }
  | { readonly op: "run"; readonly life: number; readonly operation: number }
  | { readonly op: "abandon"; readonly life: number };

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const bytes = (encoded: string): Uint8Array => Buffer.from(encoded, "base64");

export class Lives {
  private world = new World();
  private task: AnyTask | undefined;
  private bug = "";
  private readonly lives = new Map<number, Life>();

  async answer(request: Request): Promise<unknown> {
    switch (request.op) {
      case "trial":
        for (const life of this.lives.keys()) this.abandon(life);
        this.world = new World();
        this.task = taskOf(request.shape, this.world);
        this.bug = request.bug;
        return null;
      case "begin":
        return this.begin(request.life, request.runId, request.generation);
      case "apply":
        return this.apply(this.find(request.life), request);
      case "check":
        this.find(request.life).execution.check(fromBinary(CheckpointSchema, bytes(request.checkpoint)));
        return null;
      case "report":
        this.find(request.life).execution.reportAgain(fromBinary(CheckpointSchema, bytes(request.checkpoint)));
        return null;
      case "checkpoint": {
        const { execution } = this.find(request.life);
        const checkpoint = request.all ? execution.checkpointForRestart() : execution.checkpoint();
        return text(toBinary(CheckpointSchema, checkpoint));
      }
      case "run":
        return this.run(this.find(request.life), request.operation);
      case "abandon":
        this.abandon(request.life);
        return null;
    }
  }

  private find(number: number): Life {
    const life = this.lives.get(number);
    if (life === undefined) throw new Error(`no life has the number ${number}`);
    return life;
  }

  private begin(number: number, runId: string, generation: number): null {
    const execution = EXECUTIONS[this.bug];
    if (execution === undefined || this.task === undefined) throw new Error("no trial has begun");
    this.lives.set(number, new Life(new execution(this.task, { runId, generation }, this.world)));
    return null;
  }

  private abandon(number: number): void {
    const life = this.find(number);
    life.over = true;
    life.execution.abandon();
    this.lives.delete(number);
  }

  private async apply(life: Life, request: { entries: readonly string[] } & Circumstances): Promise<unknown> {
    const { execution } = life;
    (execution as Observed).circumstances = request;
    this.world.life = life;
    for (const entry of request.entries) {
      if (!execution.ended) await execution.apply(fromBinary(EntrySchema, bytes(entry)));
    }
    const cancelled = [...execution.steps.cancelled];
    execution.steps.cancelled.clear();
    return {
      seen: life.seen.splice(0),
      appliedOffset: execution.appliedOffset,
      ended: execution.ended,
      suspendable: execution.suspendable,
      listening: execution.receiver.listening.sort(),
      timers: [...execution.timers.due()],
      steps: [...execution.steps.pending()].map(told),
      cancelled,
      outputs: execution.newOutputs.splice(0).map((record) => text(toBinary(WorkRequest_OutputRecordSchema, record))),
      outcome: execution.outcome && text(toBinary(OutcomeSchema, execution.outcome)),
      restart: execution.restart && text(toBinary(PayloadSchema, execution.restart)),
    };
  }

  /** As the worker's step runner does it, but for time: the entry that ends the attempt, and what its code appended. */
  private async run(life: Life, operation: number): Promise<unknown> {
    const { execution } = life;
    const step = execution.steps.find(operation);
    if (step?.call.kind !== "function") throw new Error(`operation ${operation} is no step with a function`);
    const { call, key, attempt } = step;
    this.world.began(key);
    const outputs: string[] = [];
    const append = (streamId: string, payload: ReturnType<typeof encodeResult>): void => {
      const place = BigInt(outputs.length);
      const value = { streamId, payload, operation: BigInt(operation), attempt, place };
      outputs.push(text(toBinary(WorkRequest_OutputRecordSchema, create(WorkRequest_OutputRecordSchema, value))));
    };
    const output = { append, flush: () => Promise.resolve() };
    const scope = { operation, attempt, key, signal: new AbortController().signal, output };
    let result: StepResult;
    try {
      const value = await inScope({ execution, step: scope }, async () => call.run(scope));
      this.world.raw.set(key, value);
      result = { case: "value", value: encodeResult(value) };
    } catch (error) {
      result = { case: "failure", value: failureOf(error) };
    }
    return { entry: text(toBinary(EntrySchema, stepEnded(step, result))), outputs };
  }
}

function told({ operation, name, key, call, attempt, notBeforeUs, atMostOnce, begunEpoch }: PendingStep): unknown {
  const request =
    call.kind === "send"
      ? text(toBinary(SendOneRequestSchema, call.request))
      : call.kind === "start_run"
        ? text(toBinary(StartRunRequestSchema, call.request))
        : null;
  return { operation, name, key, kind: call.kind, request, attempt, notBeforeUs, atMostOnce, begunEpoch };
}
