/** What a task is given besides its payload. */

import { type Duration, parseDuration } from "../../duration.js";
import { type Output, output } from "../output.js";
import type { InputStream, OutputStream } from "../../streams.js";
import type { Execution } from "./execution.js";
import type { ErrorClass, StepInfo } from "./pending-step.js";
import { type Retry, retryPolicy } from "./retry.js";
import { RunCalls, type SendOptions, type SentReceipt, type StartedRun, type StartOptions } from "./run-calls.js";

export interface StepOptions {
  /** How often to try in all, or how. Unset: once. */
  readonly retry?: Retry | number | undefined;
  /** Never repeats it: throws StepInterrupted where its process was lost meanwhile. */
  readonly atMostOnce?: boolean | undefined;
  /** Of one attempt. */
  readonly timeout?: Duration | undefined;
  /** Error classes to throw again as they are, with their message; every other error is a StepFailed. */
  readonly raises?: readonly ErrorClass[] | undefined;
  /** Cancels it: the step's own signal aborts at once, and whoever awaits it gets the reason. */
  readonly signal?: AbortSignal | undefined;
}

export type StepFunction<T> = (step: StepInfo) => T | PromiseLike<T>;

/** A run, as its task sees it. Everything here is the same on every replay. */
export class TaskContext {
  readonly log: RunLog;
  private readonly calls: RunCalls;

  constructor(private readonly execution: Execution) {
    this.calls = new RunCalls(execution);
    this.log = new RunLog(execution);
  }

  get runId(): string {
    return this.execution.runId;
  }

  get task(): string {
    return this.execution.task.id;
  }

  /** How often the run was restarted with `restartWith`. */
  get generation(): number {
    return this.execution.generation;
  }

  /** Aborts when the run is cancelled. Whatever the task awaits then throws RunCancelled, once. */
  get signal(): AbortSignal {
    return this.execution.cancelSignal;
  }

  /** The time of the entry being applied, by the server's clock: it stands still between two awaits. */
  now(): Date {
    return new Date(this.execution.nowUs / 1_000);
  }

  /** From 0, below 1, seeded by the log. */
  random(): number {
    return this.execution.runRandom.next();
  }

  /** A version 4 UUID, from `random`. */
  uuid(): string {
    return this.execution.runRandom.uuid();
  }

  /** Sleeps as long as it takes: the process may be freed meanwhile. */
  sleep(duration: Duration, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.execution.sleep(parseDuration(duration) * 1_000, options.signal);
  }

  /**
   * Calls the function once and records what it returned: a replay gets the recorded value.
   *
   * What the function returns must have a serial form (JSON, or a Uint8Array); what comes back has been through it.
   */
  async step<T>(name: string, call: StepFunction<T>, options: StepOptions = {}): Promise<Awaited<T>> {
    const value = await this.execution.steps.run("step", name, {
      call: { kind: "function", run: call },
      ...stepPolicy(options),
    });
    return value as Awaited<T>;
  }

  /** An output stream of this run: `ctx.output("tokens").append(...)`. */
  output<T = unknown>(stream: string | OutputStream<T>): Output<T> {
    return output(stream);
  }

  /** Sends to a run, once, as a step. Throws MidstreamError where the server refuses, else StepFailed. */
  send<In>(
    runId: string,
    stream: string | InputStream<unknown, In>,
    value: NoInfer<In>,
    options: SendOptions = {},
  ): Promise<SentReceipt> {
    return this.calls.send(runId, stream, value, options);
  }

  /** Starts a run, once, as a step; it does not wait for its end. */
  startRun(task: string, payload?: unknown, options: StartOptions = {}): Promise<StartedRun> {
    return this.calls.startRun(task, payload, options);
  }

  /**
   * Ends the function and calls it anew with `state` as its payload: for a run whose log would grow for ever.
   *
   * Unconsumed records are there for the new generation. Call it in the task's function itself: it throws.
   */
  restartWith(state: unknown): never {
    this.execution.requestRestart(state);
  }
}

/** Names the run, and is quiet while the task replays what it has done before. */
export class RunLog {
  constructor(private readonly execution: Execution) {}

  debug(...args: unknown[]): void {
    if (!this.execution.replaying) console.debug(...args);
  }

  info(...args: unknown[]): void {
    if (!this.execution.replaying) console.info(...args);
  }

  warn(...args: unknown[]): void {
    if (!this.execution.replaying) console.warn(...args);
  }

  error(...args: unknown[]): void {
    if (!this.execution.replaying) console.error(...args);
  }
}

/** Throws RangeError where the options make no sense. */
export function stepPolicy(options: StepOptions) {
  const retry = retryPolicy(options.retry);
  const atMostOnce = options.atMostOnce ?? false;
  if (atMostOnce && retry.maxAttempts > 1) {
    throw new RangeError("a step that runs at most once cannot be tried again: leave out retry or atMostOnce");
  }
  const timeoutMs = options.timeout === undefined ? undefined : parseDuration(options.timeout);
  if (timeoutMs === 0) throw new RangeError("a step's timeout must be over 0; leave it out for none");
  return { retry, atMostOnce, timeoutMs, raises: options.raises ?? [], signal: options.signal };
}
