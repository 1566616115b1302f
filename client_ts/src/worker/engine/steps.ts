/** The steps of a run: issued by the task, carried out by the host, ended by entries alone. */

import { MidstreamError } from "../../error.js";
import type { Entry_StepBegan, Entry_StepEnded } from "../../gen/midstream/v1/entry_pb.js";
import type { Failure } from "../../gen/midstream/v1/run_pb.js";
import { INTERRUPTED } from "./entries.js";
import { StepFailed, StepInterrupted } from "./errors.js";
import { messageOf, nameOf } from "./failures.js";
import type { Kind, Operations } from "./operations.js";
import type { Call, ErrorClass, PendingStep } from "./pending-step.js";
import { decodePayload } from "./payloads.js";
import { ONCE, type RetryPolicy } from "./retry.js";

/** A name of ErrorReason. Error classes are not written so. */
const REASON = /^[A-Z][A-Z0-9_]*$/;

export interface StepRequest {
  readonly call: Call;
  readonly retry?: RetryPolicy;
  readonly atMostOnce?: boolean;
  readonly timeoutMs?: number | undefined;
  readonly raises?: readonly ErrorClass[];
  /** Cancels the step: its code's own signal aborts, and whoever awaits it gets the reason. */
  readonly signal?: AbortSignal | undefined;
}

interface Issued {
  readonly step: PendingStep;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class Steps {
  /** Steps whose code, where it is running, is to be aborted at once. The host empties it. */
  readonly cancelled = new Set<number>();
  private readonly issued = new Map<number, Issued>();

  constructor(
    private readonly operations: Operations,
    private readonly keyPrefix: string,
  ) {}

  /** What the host is to carry out, in the order in which it was issued. */
  *pending(): Generator<PendingStep> {
    for (const { step } of this.issued.values()) yield step;
  }

  get size(): number {
    return this.issued.size;
  }

  find(operation: number): PendingStep | undefined {
    return this.issued.get(operation)?.step;
  }

  /** The key of the step that is issued next. */
  nextKey(name: string): string {
    return `${this.keyPrefix}:${this.operations.count}:${name}`;
  }

  /** Issues the step; settles when the entry that ends it is applied. */
  run(kind: Kind, name: string, request: StepRequest): Promise<unknown> {
    const { signal } = request;
    signal?.throwIfAborted();
    const key = this.nextKey(name);
    const operation = this.operations.issue(kind, name);
    return new Promise<unknown>((resolve, reject) => {
      const abort = (): void => {
        this.cancel(operation, signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const done = (): void => signal?.removeEventListener("abort", abort);
      this.issued.set(operation, {
        step: {
          operation,
          name,
          key,
          call: request.call,
          retry: request.retry ?? ONCE,
          atMostOnce: request.atMostOnce ?? false,
          timeoutMs: request.timeoutMs,
          raises: request.raises ?? [],
          attempt: 1,
          notBeforeUs: 0,
          begunEpoch: undefined,
          cancelled: false,
        },
        resolve: (value) => {
          done();
          resolve(value);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
    });
  }

  began(entry: Entry_StepBegan, offset: number): void {
    const operation = Number(entry.operation);
    this.operations.expect(operation, ["step"], "step", offset);
    const issued = this.issued.get(operation);
    if (issued !== undefined) issued.step.begunEpoch = Number(entry.epoch);
  }

  /** Settles the step, or has it tried again. A second result of one attempt changes nothing. */
  ended(entry: Entry_StepEnded, offset: number, nowUs: number): void {
    const operation = Number(entry.operation);
    this.operations.expect(operation, ["step", "send", "start_run"], "step", offset);
    const issued = this.issued.get(operation);
    if (issued === undefined || entry.attempt < issued.step.attempt) return;
    const { step } = issued;
    if (entry.result.case === "failure") {
      const failure = entry.result.value;
      const interrupted = step.atMostOnce && failure.errorType === INTERRUPTED;
      if (!interrupted && entry.attempt < step.retry.maxAttempts) {
        step.notBeforeUs = nowUs + step.retry.delayUs(entry.attempt);
        step.attempt = entry.attempt + 1;
        return;
      }
      this.issued.delete(operation);
      issued.reject(errorOf(step, failure));
      return;
    }
    this.issued.delete(operation);
    let value: unknown;
    try {
      value = decodePayload(entry.result.value);
    } catch (error) {
      issued.reject(new StepFailed(step.name, nameOf(error), messageOf(error)));
      return;
    }
    issued.resolve(value);
  }

  /** Whoever awaits a step gets the error. */
  cancelAll(reason: unknown): void {
    for (const operation of [...this.issued.keys()]) this.cancel(operation, reason);
  }

  private cancel(operation: number, reason: unknown): void {
    const issued = this.issued.get(operation);
    if (issued === undefined) return;
    this.issued.delete(operation);
    issued.step.cancelled = true;
    this.cancelled.add(operation);
    issued.reject(reason);
  }
}

function errorOf(step: PendingStep, failure: Failure): Error {
  if (step.atMostOnce && failure.errorType === INTERRUPTED) {
    return new StepInterrupted(step.name, failure.errorType, failure.message);
  }
  if (step.call.kind !== "function" && REASON.test(failure.errorType)) {
    return new MidstreamError(failure.message, { reason: failure.errorType });
  }
  for (const declared of step.raises) {
    if (declared.name === failure.errorType) return new declared(failure.message);
  }
  return new StepFailed(step.name, failure.errorType, failure.message);
}
