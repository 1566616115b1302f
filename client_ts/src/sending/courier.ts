import type { CallOptions } from "../calls.js";
import type { SendResult } from "../models.js";
import type { Draft } from "./draft.js";

/** Takes records to the server, each stream's in the order in which they were put. */
export interface Courier {
  /** Resolves to what became of the record. Rejects only with the reason of the options' signal. */
  put(runId: string, streamId: string, draft: Draft, options?: CallOptions): Promise<SendResult>;
}

export const MAX_BATCH_RECORDS = 1_000;
export const MAX_BATCH_BYTES = 1024 * 1024;
