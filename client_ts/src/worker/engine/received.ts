/** An input stream's four views, in the run whose task code is running. */

import { type Duration, parseDuration } from "../../duration.js";
import type { StreamRecord } from "../../models.js";
import type { Execution } from "./execution.js";
import { currentExecution } from "./scope.js";

export interface ReceiveOptions {
  /** How long to wait; "0s" takes only what is there. Unset: for ever. */
  readonly timeout?: Duration | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Nothing came in time. */
export class ReceiveTimeout extends Error {
  override readonly name = "ReceiveTimeout";
}

export type Result<T> =
  | { readonly ok: true; readonly output: T; readonly record: StreamRecord<T>; unwrap(): T }
  | { readonly ok: false; readonly error: ReceiveTimeout; unwrap(): never };

export interface Subscription {
  /** The handler gets no more records. */
  off(): void;
}

export class Received<T> {
  private readonly execution: Execution;

  /** Throws where no task's code is running. */
  constructor(private readonly streamId: string) {
    const execution = currentExecution();
    if (execution === undefined) {
      throw new Error(
        `stream "${streamId}" is received from in a task's own code, not in a step's or outside of tasks`,
      );
    }
    this.execution = execution;
  }

  on(handler: (value: T, record: StreamRecord<T>) => unknown): Subscription {
    const handle = (record: StreamRecord): unknown => handler(record.value as T, record as StreamRecord<T>);
    const name = handler.name || "a function without a name";
    return { off: this.execution.receiver.inbox(this.streamId).on(handle, name) };
  }

  once(options: ReceiveOptions = {}): Promise<Result<T>> {
    return this.take("once", options);
  }

  wait(options: ReceiveOptions = {}): Promise<Result<T>> {
    return this.take("wait", options);
  }

  peek(): T | undefined {
    return this.peekRecord()?.value;
  }

  peekRecord(): StreamRecord<T> | undefined {
    return this.execution.receiver.inbox(this.streamId).buffer.newest() as StreamRecord<T> | undefined;
  }

  async drain(): Promise<T[]> {
    const { receiver } = this.execution;
    const records = await receiver.take("drain", [this.streamId], { timeoutUs: 0, everything: true });
    return records.map((record) => record.value as T);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, never> {
    for (;;) yield (await this.once()).unwrap();
  }

  private async take(kind: "once" | "wait", { timeout, signal }: ReceiveOptions): Promise<Result<T>> {
    const timeoutUs = timeout === undefined ? undefined : parseDuration(timeout) * 1_000;
    const [record] = await this.execution.receiver.take(kind, [this.streamId], { timeoutUs, signal });
    return resultOf<T>(record, this.streamId, timeout);
  }
}

/** Takes one record, the first of all streams by its place in the log. Undefined where the timeout came first. */
export async function takeAny(
  streamIds: readonly string[],
  options: ReceiveOptions,
): Promise<StreamRecord | undefined> {
  const execution = currentExecution();
  if (execution === undefined) throw new Error("waitAny receives records: call it in a task");
  if (streamIds.length === 0) throw new TypeError("waitAny needs a stream to wait on");
  const timeoutUs = options.timeout === undefined ? undefined : parseDuration(options.timeout) * 1_000;
  const [record] = await execution.receiver.take("wait_any", [...new Set(streamIds)], {
    timeoutUs,
    signal: options.signal,
  });
  return record;
}

export function resultOf<T>(
  record: StreamRecord | undefined,
  streamId: string,
  timeout: Duration | undefined,
): Result<T> {
  if (record === undefined) {
    const error = new ReceiveTimeout(`no record came on stream "${streamId}" within ${timeout}`);
    return {
      ok: false,
      error,
      unwrap() {
        throw error;
      },
    };
  }
  const output = record.value as T;
  return { ok: true, output, record: record as StreamRecord<T>, unwrap: () => output };
}
