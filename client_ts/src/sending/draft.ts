import { create } from "@bufbuild/protobuf";
import type { Codec } from "../codec.js";
import { MidstreamError } from "../error.js";
import { type NewRecord, NewRecordSchema, type Payload } from "../gen/midstream/v1/record_pb.js";
import { encodeAs } from "../payload.js";
import { ulid } from "../random-key.js";

/** A record on its way, and about how many bytes it takes there. */
export interface Draft {
  readonly record: NewRecord;
  readonly sizeBytes: number;
}

/** What can be said about a record besides its value. */
export interface RecordOptions {
  /** Makes your own repetition safe: the same key with the same value is stored once. Unset: a random one. */
  key?: string | undefined;
  metadata?: Readonly<Record<string, string>> | undefined;
}

const OVERHEAD_BYTES = 40;

/** A server takes no larger message, whatever its settings; one would break the call for the other records on it. */
const MAX_PAYLOAD_BYTES = 4 * 1024 * 1024;

/** Throws MidstreamError (PAYLOAD_INVALID) for a value that cannot be sent. */
export function draft(value: unknown, options: RecordOptions = {}, codec?: Codec<unknown, never>): Draft {
  const payload = encodeAs(codec, value);
  const metadata = { ...options.metadata };
  const record = create(NewRecordSchema, { payload, idempotencyKey: options.key ?? ulid(), metadata });
  let sizeBytes = OVERHEAD_BYTES + record.idempotencyKey.length;
  sizeBytes += payload.content.case === "json" ? utf8Bound(payload.content.value) : bytesOf(payload);
  if (sizeBytes > MAX_PAYLOAD_BYTES) checkSize(payload);
  for (const [name, text] of Object.entries(metadata)) sizeBytes += (name.length + text.length) * 3 + 8;
  return { record, sizeBytes };
}

function checkSize({ content }: Pick<Payload, "content">): void {
  const bytes = content.case === "json" ? new TextEncoder().encode(content.value).length : bytesOf({ content });
  if (bytes <= MAX_PAYLOAD_BYTES) return;
  const metadata = { payload_bytes: String(bytes), max_payload_bytes: String(MAX_PAYLOAD_BYTES) };
  throw new MidstreamError(
    `a payload of ${bytes} bytes is too large for any server; store it elsewhere and send a reference`,
    { reason: "PAYLOAD_TOO_LARGE", code: "INVALID_ARGUMENT", metadata },
  );
}

/** Of what is binary already. */
function bytesOf({ content }: Pick<Payload, "content">): number {
  if (content.case === "proto") return content.value.value.length;
  return content.case === "raw" ? content.value.length : 0;
}

/** No more than so many bytes; exact counting would encode every text twice. */
function utf8Bound(text: string): number {
  return text.length * 3;
}
