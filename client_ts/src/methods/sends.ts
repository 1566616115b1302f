import type { CallOptions } from "../calls.js";
import type { Codec } from "../codec.js";
import { MidstreamError } from "../error.js";
import type { Receipt, SendResult } from "../models.js";
import type { Courier } from "../sending/courier.js";
import { type Draft, draft, type RecordOptions } from "../sending/draft.js";
import { createGate } from "../sending/gate.js";
import { codecOf, type InputStream, type StreamOrId, streamId } from "../streams.js";

/** Sending records. */
export interface Sends {
  /**
   * Stores a record; when this resolves, it is on disk. While the server cannot be reached, it is tried again; the records
   * of one stream keep their order. Throws MidstreamError, or the signal's reason; then the record may be stored.
   */
  send<In>(
    runId: string,
    stream: InputStream<unknown, In>,
    value: NoInfer<In>,
    options?: RecordOptions & CallOptions,
  ): Promise<Receipt>;
  send(runId: string, stream: string, value: unknown, options?: RecordOptions & CallOptions): Promise<Receipt>;

  /**
   * Stores many records, in batches, and tells what became of each, in order. One that is refused does not hold up the
   * others. What `values` itself throws is thrown at once; the records before that are stored all the same.
   */
  sendMany<In>(
    runId: string,
    stream: InputStream<unknown, In>,
    values: Iterable<NoInfer<In>> | AsyncIterable<NoInfer<In>>,
    options?: CallOptions,
  ): Promise<SendResult[]>;
  sendMany(
    runId: string,
    stream: string,
    values: Iterable<unknown> | AsyncIterable<unknown>,
    options?: CallOptions,
  ): Promise<SendResult[]>;
}

/** `courierFor` says who takes records with these options. */
export function createSends(courierFor: (options: CallOptions | undefined) => Courier): Sends {
  const gate = createGate();
  return {
    async send(runId: string, stream: StreamOrId, value: unknown, options?: RecordOptions & CallOptions) {
      const record = draft(value, options, codecOf(stream));
      const result = await courierFor(options).put(runId, streamId(stream), record, options);
      if (!result.ok) throw result.error;
      return result.receipt;
    },

    async sendMany(
      runId: string,
      stream: StreamOrId,
      values: Iterable<unknown> | AsyncIterable<unknown>,
      options?: CallOptions,
    ) {
      const courier = courierFor(options);
      const id = streamId(stream);
      const codec = codecOf(stream);
      const results: Promise<SendResult>[] = [];
      for await (const value of values) {
        options?.signal?.throwIfAborted();
        const record = drafted(value, codec);
        if (record instanceof MidstreamError) {
          results.push(Promise.resolve({ ok: false, error: record }));
          continue;
        }
        await gate.enter(record.sizeBytes);
        const result = courier.put(runId, id, record, options).finally(() => gate.leave(record.sizeBytes));
        result.catch(() => {}); // whoever aborts hears of it from the whole
        results.push(result);
      }
      return Promise.all(results);
    },
  };
}

function drafted(value: unknown, codec: Codec<unknown, never> | undefined): Draft | MidstreamError {
  try {
    return draft(value, {}, codec);
  } catch (error) {
    if (error instanceof MidstreamError) return error;
    throw error;
  }
}
