/** Whose code is running: a task's, a step's, or neither. */

import { AsyncLocalStorage } from "node:async_hooks";
import type { Payload } from "../../gen/midstream/v1/record_pb.js";
import type { Execution } from "./execution.js";

/** What a step's code appends to output streams. */
export interface StepOutput {
  append(streamId: string, payload: Payload, metadata: Record<string, string>): void;
  /** Resolves when all that the run has appended is on disk. */
  flush(): Promise<void>;
}

/** A step's own code, while one attempt of it runs. */
export interface StepScope {
  readonly operation: number;
  readonly attempt: number;
  /** The same for every attempt, and on every machine: an idempotency key for the outside world. */
  readonly key: string;
  readonly signal: AbortSignal;
  readonly output: StepOutput;
}

export interface Scope {
  readonly execution: Execution;
  readonly step?: StepScope;
}

const scopes = new AsyncLocalStorage<Scope>();

export function inScope<T>(scope: Scope, call: () => T): T {
  return scopes.run(scope, call);
}

export function outsideScopes<T>(call: () => T): T {
  return scopes.exit(call);
}

export function currentScope(): Scope | undefined {
  return scopes.getStore();
}

/** The run whose task code is running; undefined in a step's code and elsewhere. */
export function currentExecution(): Execution | undefined {
  const scope = scopes.getStore();
  return scope?.step === undefined ? scope?.execution : undefined;
}

/** Throws where a step's code is not running. */
export function stepKey(): string {
  const step = scopes.getStore()?.step;
  if (step === undefined) throw new Error("stepKey() works in a step's own code only");
  return step.key;
}
