import type { Duration } from "../duration.js";
import type { StreamRecord } from "../models.js";

/** Nothing came in time. */
export class ReceiveTimeout extends Error {
  override readonly name = "ReceiveTimeout";

  constructor(
    readonly streamIds: readonly string[],
    readonly timeout: Duration,
  ) {
    super(`no record came on ${streamIds.map((id) => `stream "${id}"`).join(" or ")} within ${timeout}`);
  }
}

/** A record came. */
export interface Received<T> {
  readonly ok: true;
  readonly output: T;
  readonly record: StreamRecord<T>;
  readonly error?: undefined;
  /** The output. */
  unwrap(): T;
}

/** None did. */
export interface NotReceived {
  readonly ok: false;
  readonly output?: undefined;
  readonly error: ReceiveTimeout;
  /** Throws the error. */
  unwrap(): never;
}

/** What a receive came to. */
export type Result<T> = Received<T> | NotReceived;

/** The result of a receive on these streams; an undefined record is one that did not come within the timeout. */
export function resultOf<T>(
  record: StreamRecord | undefined,
  streamIds: readonly string[],
  timeout: Duration | undefined,
): Result<T> {
  if (record !== undefined) {
    const typed = record as StreamRecord<T>;
    return { ok: true, output: typed.value, record: typed, unwrap: () => typed.value };
  }
  const error = new ReceiveTimeout(streamIds, timeout ?? "0s");
  return {
    ok: false,
    error,
    unwrap: () => {
      throw error;
    },
  };
}
