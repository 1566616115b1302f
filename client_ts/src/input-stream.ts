import { type Duration, parseDuration } from "./duration.js";
import type { StreamRecord } from "./models.js";
import { currentReceiver } from "./receiving/receiver.js";
import { type Result, resultOf } from "./receiving/result.js";
import type { InputStream, Receiving } from "./streams.js";

/** How long to wait, and when not to any more. */
export interface ReceiveOptions {
  /** `"0s"` takes only what is there. Unset: for ever. */
  readonly timeout?: Duration | undefined;
  /** Ends the wait with its reason; a record that it would have had stays. */
  readonly signal?: AbortSignal | undefined;
}

/** A handler's tie to its stream. */
export interface Subscription {
  /** The handler gets no more records. */
  off(): void;
}

/** The four ways to receive, in whichever run the calling code belongs to. */
export function receivingFrom<T>(id: string): Receiving<T> {
  const run = () => currentReceiver(`stream "${id}"`);
  return {
    on(handler) {
      const handle = (record: StreamRecord): unknown => handler(record.value as T, record as StreamRecord<T>);
      return { off: run().on(id, handle, handler.name || "a function without a name") };
    },
    async once(options = {}) {
      return resultOf<T>(await run().once([id], takeOptions(options)), [id], options.timeout);
    },
    async wait(options = {}) {
      return resultOf<T>(await run().wait([id], takeOptions(options)), [id], options.timeout);
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
  return { ...resultOf<T>(record, ids, options.timeout), stream };
}

function takeOptions({ timeout, signal }: ReceiveOptions) {
  return { timeoutMs: timeout === undefined ? undefined : parseDuration(timeout), signal };
}
