import { checkTimeout } from "./check-timeout.js";
import { type Codec, read } from "./codec.js";
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

/** Where a stream is received from, and what its values are. */
export interface ReceivingOptions<T> {
  /** Unset: in whichever run the calling code belongs to. */
  readonly run?: () => Receiver;
  /** Unset: any JSON. */
  readonly codec?: Codec<T, never> | undefined;
}

/** The four ways to receive. */
export function receivingFrom<T>(
  id: string,
  { run = () => currentReceiver(`stream "${id}"`), codec }: ReceivingOptions<T> = {},
): Receiving<T> {
  return {
    on(handler) {
      const handle = (record: StreamRecord): unknown => {
        const typed = read(codec, record);
        return handler(typed.value, typed);
      };
      return { off: run().on(id, handle, handler.name || "a function without a name") };
    },
    once(options = {}) {
      const take = async () => resultOf(await run().once([id], takeOptions(options)), [id], timeoutOf(options), codec);
      const result = take();
      // Who does not wait for it just now when the run is interrupted must not crash the process: the run's code hears.
      result.catch(() => {});
      return result;
    },
    async wait(options = {}) {
      return resultOf(await run().wait([id], takeOptions(options)), [id], timeoutOf(options), codec);
    },
    peek() {
      const newest = run().newest(id);
      return newest && read(codec, newest).value;
    },
    peekRecord() {
      const newest = run().newest(id);
      return newest && read(codec, newest);
    },
    async drain() {
      const receiver = run();
      const records = await receiver.drain(id);
      const values: T[] = [];
      try {
        for (const record of records) values.push(read(codec, record).value);
      } catch (error) {
        receiver.giveBack(records.slice(Math.max(values.length, 1)));
        if (values.length === 0) throw error;
      }
      return values;
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const record = await run().once([id], {});
        if (record !== undefined) yield read(codec, record).value;
      }
    },
  };
}

/** What `waitAny` came to: which stream, and what came on it. */
export type AnyResult<T> = Result<T> & { readonly stream: InputStream<T, unknown> | undefined };

/**
 * Takes one record, the first of all streams by its place in the log, or the next to arrive on any of them. The process
 * may go meanwhile. The other streams lose nothing.
 */
export async function waitAny<T>(
  streams: readonly InputStream<T, unknown>[],
  options: ReceiveOptions = {},
): Promise<AnyResult<T>> {
  const ids = [...new Set(streams.map((stream) => stream.id))];
  if (ids.length === 0) throw new TypeError("waitAny needs a stream to wait on");
  const record = await currentReceiver("a stream").wait(ids, takeOptions(options));
  const stream = streams.find((each) => each.id === record?.streamId);
  return { ...resultOf(record, ids, timeoutOf(options), stream?.codec), stream };
}

function takeOptions({ timeout, timeoutMs, signal }: ReceiveOptions): TakeOptions {
  checkTimeout(timeoutMs);
  return { timeoutMs: timeout === undefined ? timeoutMs : parseDuration(timeout), signal };
}

function timeoutOf({ timeout, timeoutMs }: ReceiveOptions): Duration | undefined {
  return timeout ?? (timeoutMs === undefined ? undefined : `${timeoutMs}ms`);
}
