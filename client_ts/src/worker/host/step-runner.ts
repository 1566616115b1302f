/** Carries out the steps of a run. */

import { create } from "@bufbuild/protobuf";
import { MidstreamError } from "../../error.js";
import type { Entry } from "../../gen/midstream/v1/entry_pb.js";
import { FailureSchema } from "../../gen/midstream/v1/run_pb.js";
import type { StartRunRequest } from "../../gen/midstream/v1/run_service_pb.js";
import type { SendOneRequest } from "../../gen/midstream/v1/stream_service_pb.js";
import { interrupted, type StepResult, stepBegan, stepEnded } from "../engine/entries.js";
import type { Execution } from "../engine/execution.js";
import { failureOf } from "../engine/failures.js";
import { encodeResult } from "../engine/payloads.js";
import type { PendingStep } from "../engine/pending-step.js";
import { inScope, type Scope } from "../engine/scope.js";
import type { Clock, ServerTime } from "./clock.js";
import type { RunOutputs } from "./outputs.js";

/** Makes calls of a run, each until it succeeds or is refused with a MidstreamError. Resolves to what the task gets. */
export interface Caller {
  send(request: SendOneRequest): Promise<unknown>;
  startRun(request: StartRunRequest): Promise<unknown>;
}

export interface StepRunnerOptions {
  readonly execution: Execution;
  readonly epoch: bigint;
  readonly append: (entry: Entry) => void;
  readonly caller: Caller;
  readonly clock: Clock;
  readonly serverTime: ServerTime;
  readonly outputs: RunOutputs;
}

class Attempt {
  readonly aborting = new AbortController();
  /** Where its code runs, and what listens to its signal. */
  scope: Scope | undefined;
  asked = false;
  started = false;

  constructor(readonly number: number) {}

  abort(reason: DOMException): void {
    const abort = (): void => this.aborting.abort(reason);
    if (this.scope === undefined) abort();
    else inScope(this.scope, abort);
  }
}

const MAX_RESULT_BYTES = 1024 * 1024;

/**
 * Starts each attempt of each step once, and asks for the entry that ends it.
 *
 * An at-most-once step first asks for the entry that begins it, and starts when that has come back.
 */
export class StepRunner {
  private readonly attempts = new Map<number, Attempt>();

  constructor(private readonly options: StepRunnerOptions) {}

  /** Starts what the task has issued, and aborts what it has cancelled. */
  follow(): void {
    const { steps } = this.options.execution;
    for (const operation of this.attempts.keys()) {
      if (steps.find(operation) === undefined) this.abort(operation);
    }
    steps.cancelled.clear();
    for (const step of steps.pending()) {
      let attempt = this.attempts.get(step.operation);
      if (attempt?.number !== step.attempt) {
        attempt = new Attempt(step.attempt);
        this.attempts.set(step.operation, attempt);
      }
      if (!attempt.started) this.begin(step, attempt);
    }
  }

  abortAll(): void {
    for (const operation of this.attempts.keys()) this.abort(operation);
  }

  private begin(step: PendingStep, attempt: Attempt): void {
    const { epoch, append } = this.options;
    if (step.atMostOnce && step.begunEpoch !== Number(epoch)) {
      if (attempt.asked) return;
      attempt.asked = true;
      if (step.begunEpoch === undefined) append(stepBegan(step, epoch));
      else append(stepEnded(step, { case: "failure", value: create(FailureSchema, interrupted()) }));
      return;
    }
    attempt.started = true;
    void this.run(step, attempt);
  }

  private async run(step: PendingStep, attempt: Attempt): Promise<void> {
    if (step.notBeforeUs > 0) await this.until(step.notBeforeUs, attempt.aborting.signal);
    // It was aborted meanwhile, and nobody waits for it.
    if (this.attempts.get(step.operation) !== attempt) return;
    const begun = performance.now();
    const number = step.attempt;
    const result = await this.result(step, attempt);
    if (this.attempts.get(step.operation) !== attempt || step.cancelled || step.attempt !== number) return;
    this.options.append(stepEnded(step, result, performance.now() - begun));
  }

  private async result(step: PendingStep, attempt: Attempt): Promise<StepResult> {
    try {
      const value = encodeResult(await this.value(step, attempt));
      const { content } = value;
      const bytes = content.case === "json" ? Buffer.byteLength(content.value) : 0;
      if (bytes > MAX_RESULT_BYTES) {
        throw new RangeError(
          `step "${step.name}" returned ${bytes} bytes, too much for a log; store it elsewhere and return where it is`,
        );
      }
      return { case: "value", value };
    } catch (error) {
      const failure = failureOf(error);
      // Every language knows the reason of a refused call, and makes an error with it again.
      if (step.call.kind !== "function" && error instanceof MidstreamError && error.reason) {
        failure.errorType = error.reason;
      }
      return { case: "failure", value: failure };
    }
  }

  private async value(step: PendingStep, attempt: Attempt): Promise<unknown> {
    const { call } = step;
    if (call.kind === "send") return this.options.caller.send(call.request);
    if (call.kind === "start_run") return this.options.caller.startRun(call.request);
    const { signal } = attempt.aborting;
    const { operation, key } = step;
    const output = this.options.outputs.ofStep(operation, step.attempt);
    const scope = { operation, attempt: step.attempt, key, signal, output };
    const { execution } = this.options;
    attempt.scope = { execution, step: scope };
    const running = inScope(attempt.scope, async () => call.run(scope));
    try {
      return await (step.timeoutMs === undefined ? running : this.inTime(running, step, attempt));
    } finally {
      output.end();
    }
  }

  /** Whichever is first: the step's end, or its timeout, at which its signal aborts. */
  private inTime(running: Promise<unknown>, step: PendingStep, attempt: Attempt): Promise<unknown> {
    const { clock } = this.options;
    return new Promise((resolve, reject) => {
      const callOff = clock.at(clock.nowUs() + (step.timeoutMs as number) * 1_000, () => {
        const error = new DOMException(`step "${step.name}" took over ${step.timeoutMs} ms`, "TimeoutError");
        attempt.abort(error);
        reject(error);
      });
      running.then(resolve, reject).finally(callOff);
    });
  }

  private until(serverUs: number, signal: AbortSignal): Promise<void> {
    const { clock, serverTime } = this.options;
    return new Promise((resolve) => {
      const callOff = clock.at(serverTime.byOwnClock(serverUs), resolve);
      signal.addEventListener("abort", () => {
        callOff();
        resolve();
      });
    });
  }

  private abort(operation: number): void {
    const attempt = this.attempts.get(operation);
    this.attempts.delete(operation);
    attempt?.abort(new DOMException("the step was cancelled", "AbortError"));
  }
}
