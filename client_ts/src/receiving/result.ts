import { type Codec, read } from "../codec.js";
import type { Duration } from "../duration.js";
import type { StreamRecord } from "../models.js";
import type { RecordInvalid } from "../record-invalid.js";

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

/** None did, or one that does not fit the stream's type. */
export interface NotReceived {
  readonly ok: false;
  readonly output?: undefined;
  readonly error: ReceiveTimeout | RecordInvalid;
  /** The one that does not fit. It is consumed: the next receive gets the one behind it. */
  readonly record?: StreamRecord | undefined;
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
  codec: Codec<T, never> | undefined,
): Result<T> {
  if (record === undefined) return notReceived(new ReceiveTimeout(streamIds, timeout ?? "0s"));
  let typed: StreamRecord<T>;
  try {
    typed = read(codec, record);
  } catch (error) {
    return notReceived(error as RecordInvalid, record);
  }
  return { ok: true, output: typed.value, record: typed, unwrap: () => typed.value };
}

function notReceived(error: ReceiveTimeout | RecordInvalid, record?: StreamRecord): NotReceived {
  return {
    ok: false,
    error,
    record,
    unwrap: () => {
      throw error;
    },
  };
}
