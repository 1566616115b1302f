import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { fromStatus, MidstreamError } from "./error.js";
import {
  Direction as DirectionEnum,
  PayloadView,
  type Record as RecordMessage,
  Sender_Kind,
} from "./gen/midstream/v1/record_pb.js";
import type { Accepted, Receipt as ReceiptMessage } from "./gen/midstream/v1/stream_service_pb.js";
import { decodePayload } from "./payload.js";

/** Which way a stream goes: into the run, or out of it. */
export type Direction = "input" | "output";

/**
 * How values are given that are protobuf messages: as they are stored, or as plain JSON, which takes no code of their type
 * but that their stream is registered.
 */
export type PayloadForm = "stored" | "json";

/** Who sent a record, as the server recognised it. */
export interface Sender {
  readonly kind: "UNSPECIFIED" | "ANONYMOUS" | "API_KEY" | "ACCESS_TOKEN" | "RUN";
  readonly subject: string;
}

/** Seqs that do not count any more, both ends included. */
export interface SeqRange {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** A stored record. */
export interface StreamRecord<T = unknown> {
  readonly runId: string;
  readonly streamId: string;
  readonly direction: Direction;
  /** Its place on its stream, from 1, without gaps. */
  readonly seq: number;
  /** An input record's place in the run's log; an output record's among all output records of the run. */
  readonly offset: number;
  /** Plain JSON, bytes, or a TypedMessage. */
  readonly value: T;
  /** The version of the stream's registered schema that the server checked it against; 0: there was none. */
  readonly schemaVersion: number;
  readonly sender: Sender;
  readonly acceptTime: Date;
  readonly idempotencyKey: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** On an output stream, in place of a value: earlier records of the stream that do not count any more. */
  readonly rewound?: readonly SeqRange[];
}

/** A record is on disk. */
export interface Receipt {
  readonly seq: number;
  readonly offset: number;
  readonly acceptTime: Date;
  /** It was already, from an earlier send with the same key and value. */
  readonly deduplicated: boolean;
  /**
   * How many unread records made room for it, on a stream that keeps only the newest. Of records that were sent at once,
   * the last one tells for all.
   */
  readonly dropped: number;
}

/** What became of one record of many. */
export type SendResult =
  | { readonly ok: true; readonly receipt: Receipt }
  | { readonly ok: false; readonly error: MidstreamError };

export function payloadView(form: PayloadForm | undefined): PayloadView {
  return form === "json" ? PayloadView.JSON : PayloadView.STORED;
}

/** A position as a number. Throws RangeError beyond 2^53, where numbers have gaps. */
export function toNumber(position: bigint): number {
  const number = Number(position);
  if (!Number.isSafeInteger(number)) throw new RangeError(`${position} is too large for a number`);
  return number;
}

/** A time to the millisecond. */
export function toDate(time: Timestamp | undefined): Date {
  return time ? timestampDate(time) : new Date(0);
}

export function toRecord(record: RecordMessage): StreamRecord {
  const { sender, rewound } = record;
  return {
    runId: record.runId,
    streamId: record.streamId,
    direction: record.direction === DirectionEnum.OUTPUT ? "output" : "input",
    seq: toNumber(record.seq),
    offset: toNumber(record.offset),
    value: decodePayload(record.payload),
    schemaVersion: record.schemaVersion,
    sender: {
      kind: (sender && (Sender_Kind[sender.kind] as Sender["kind"] | undefined)) ?? "UNSPECIFIED",
      subject: sender?.subject ?? "",
    },
    acceptTime: toDate(record.acceptTime),
    idempotencyKey: record.idempotencyKey,
    metadata: record.metadata,
    ...(rewound && {
      rewound: rewound.ranges.map((range) => ({
        firstSeq: toNumber(range.firstSeq),
        lastSeq: toNumber(range.lastSeq),
      })),
    }),
  };
}

export function toReceipt(accepted: Accepted): Receipt {
  return {
    seq: toNumber(accepted.seq),
    offset: toNumber(accepted.offset),
    acceptTime: toDate(accepted.acceptTime),
    deduplicated: accepted.deduplicated,
    dropped: accepted.droppedCount,
  };
}

export function toSendResult(receipt: ReceiptMessage): SendResult {
  if (receipt.result.case === "accepted") return { ok: true, receipt: toReceipt(receipt.result.value) };
  if (receipt.result.case === "error") return { ok: false, error: fromStatus(receipt.result.value) };
  return { ok: false, error: new MidstreamError("the server's receipt says nothing", { code: "INTERNAL" }) };
}
