import { MidstreamError } from "./error.js";
import type { StreamRecord } from "./models.js";

/** What does not fit, by its path; "" is the whole value. */
export interface Misfit {
  readonly message: string;
  readonly fields?: Record<string, string>;
}

/**
 * A stored record that does not fit what this program declares its stream to be; `fields` says where.
 *
 * Taken by `once`, `wait`, `drain` or `for await`, the record is consumed: catch this to go on with the next one. Uncaught,
 * it blocks a managed run instead of failing it: code whose declaration fits takes the run on from there.
 */
export class RecordInvalid extends MidstreamError {
  override readonly name: string = "RecordInvalid";
  readonly streamId: string;
  readonly seq: number;
  readonly offset: number;
  /** What the server checked it against; 0: nothing. */
  readonly schemaVersion: number;

  constructor(record: StreamRecord, problem: Misfit, cause?: unknown) {
    const { streamId, seq, offset, schemaVersion } = record;
    const checked = schemaVersion > 0 ? `, checked against schema version ${schemaVersion}` : "";
    super(`record ${seq} on stream "${streamId}"${checked}: ${problem.message}`, {
      reason: "PAYLOAD_INVALID",
      code: "INVALID_ARGUMENT",
      metadata: { stream_id: streamId, seq: String(seq), schema_version: String(schemaVersion) },
      fields: problem.fields ?? {},
      cause,
    });
    this.streamId = streamId;
    this.seq = seq;
    this.offset = offset;
    this.schemaVersion = schemaVersion;
  }
}
