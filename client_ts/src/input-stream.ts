import { checkTimeout } from "./check-timeout.js";
import { type Duration, parseDuration } from "./duration.js";
import type { StreamRecord } from "./models.js";
import { currentReceiver, type Receiver, type TakeOptions } from "./receiving/receiver.js";
import { type Result, resultOf } from "./receiving/result.js";
import type { InputStream, Receiving } from "./streams.js";

/** How long to wait, and when not to any more. */
export interface ReceiveOptions {
  /** `"0s"` takes only what is there. Unset: for ever. */
  readonly timeout?: Duration | undefined;
  /** The same in milliseconds; 0 takes only what is there. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait with its reason; a record that it would have had stays. */
  readonly signal?: AbortSignal | undefined;
}

/** A handler's tie to its stream. */
export interface Subscription {
  /** The handler gets no more records. */
  off(): void;
}

/** The four ways to receive, in `run`: unless given, in whichever run the calling code belongs to. */
export function receivingFrom<T>(
  id: string,
  run: () => Receiver = () => currentReceiver(`stream "${id}"`),
): Receiving<T> {
  return {
    on(handler) {
      const handle = (record: StreamRecord): unknown => handler(record.value as T, record as StreamRecord<T>);
      return { off: run().on(id, handle, handler.name || "a function without a name") };
    },
    once(options = {}) {
      const take = async () => resultOf<T>(await run().once([id], takeOptions(options)), [id], timeoutOf(options));
      const result = take();
      // Who does not wait for it just now when the run is interrupted must not crash the process: the run's code hears.
      result.catch(() => {});
      return result;
    },
    async wait(options = {}) {
      return resultOf<T>(await run().wait([id], takeOptions(options)), [id], timeoutOf(options));
    },
    peek: () => run().newest(id)?.value as T | undefined,
    peekRecord: () => run().newest(id) as StreamRecord<T> | undefined,
    async drain() {
      return (await run().drain(id)).map((record) => record.value as T);
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const record = await run().once([id], {});
        if (record !== undefined) yield record.value as T;
      }
    },
  };
}

/** What `waitAny` came to: which stream, and what came on it. */
export type AnyResult<T> = Result<T> & { readonly stream: InputStream<T> | undefined };

/**
 * Takes one record, the first of all streams by its place in the log, or the next to arrive on any of them. The process
 * may go meanwhile. The other streams lose nothing.
 */
export async function waitAny<T>(
  streams: readonly InputStream<T>[],
  options: ReceiveOptions = {},
): Promise<AnyResult<T>> {
  const ids = [...new Set(streams.map((stream) => stream.id))];
  if (ids.length === 0) throw new TypeError("waitAny needs a stream to wait on");
  const record = await currentReceiver("a stream").wait(ids, takeOptions(options));
  const stream = streams.find((each) => each.id === record?.streamId);
  return { ...resultOf<T>(record, ids, timeoutOf(options)), stream };
}

function takeOptions({ timeout, timeoutMs, signal }: ReceiveOptions): TakeOptions {
  checkTimeout(timeoutMs);
  return { timeoutMs: timeout === undefined ? timeoutMs : parseDuration(timeout), signal };
}

function timeoutOf({ timeout, timeoutMs }: ReceiveOptions): Duration | undefined {
  return timeout ?? (timeoutMs === undefined ? undefined : `${timeoutMs}ms`);
}
