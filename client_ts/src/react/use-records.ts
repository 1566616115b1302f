import { useMemo, useSyncExternalStore } from "react";
import type { Direction, PayloadForm, StreamRecord } from "../models.js";
import type { RecordInvalid } from "../record-invalid.js";
import { codecOf, type InputStream, type OutputStream } from "../streams.js";
import type { Credential } from "./credential.js";
import { idleFeed } from "./feed.js";
import { identity, NONE_PENDING, type PendingRecord } from "./outbox.js";
import { useHub } from "./provider.js";
import { createReader } from "./reader.js";
import { type FollowedRecords, NO_RECORDS } from "./records-feed.js";
import { useFeed } from "./use-feed.js";

/** How to see an output stream. */
export interface UseOutputStreamOptions {
  readonly accessToken?: Credential;
  /** Only records behind this offset; 0, and by default: all. */
  readonly afterOffset?: number;
  /** How many records to keep, the newest; 10,000 by default. */
  readonly limit?: number;
}

/** Which records of a run to see. */
export interface UseRecordsOptions<T = unknown> extends UseOutputStreamOptions {
  /** Only this stream's; by default those of all streams. */
  readonly stream?: string | InputStream<T, unknown> | OutputStream<T>;
  /** What went into the run, by default, or what came out of it. */
  readonly direction?: Direction;
  /** `"json"` gives protobuf messages as plain JSON, without code of their types; by default they come as stored. */
  readonly view?: PayloadForm;
}

/** Records so far, and how following them goes. */
export interface UseRecords<T = unknown> extends FollowedRecords<T> {
  /** What was sent from this page and is not among `records` yet, oldest first. */
  readonly pending: readonly PendingRecord<T>[];
  /** Records that do not fit the stream's declared type. They are not among `records`. */
  readonly invalid: readonly RecordInvalid[];
  /** Tries again after a refusal, from where it had got to. */
  readonly retry: () => void;
}

const DEFAULT_LIMIT = 10_000;
const IDLE: FollowedRecords = Object.freeze({ ...NO_RECORDS, status: "idle" });
const idle = idleFeed(IDLE);
const nothingPending = { get: () => NONE_PENDING, subscribe: () => () => {} };

/** A run's records, live: first those that are there. Without a run id it waits for one. */
export function useRecords<T = unknown>(
  runId: string | null | undefined,
  options: UseRecordsOptions<T> = {},
): UseRecords<T> {
  const hub = useHub();
  const { accessToken, stream, direction = "input", view = "stored", afterOffset = 0, limit = DEFAULT_LIMIT } = options;
  const run = accessToken === null ? undefined : runId || undefined;
  const streamId = typeof stream === "object" ? stream.id : stream;

  const feed = useMemo(
    () => (run === undefined ? idle : hub.records({ runId: run, streamId, direction, view, afterOffset, limit })),
    [hub, run, streamId, direction, view, afterOffset, limit],
  );
  const state = useFeed(feed, accessToken, run === undefined ? IDLE : NO_RECORDS);

  const outbox = useMemo(
    () => (run === undefined || direction === "output" ? nothingPending : hub.outbox(run).pending),
    [hub, run, direction],
  );
  const sent = useSyncExternalStore(outbox.subscribe, outbox.get, () => NONE_PENDING);
  const pending = useMemo(() => notArrived(sent, state.records, streamId), [sent, state.records, streamId]);

  const codec = codecOf(stream);
  const reader = useMemo(() => createReader(codec), [codec]);
  const read = useMemo(() => reader.records(state.records), [reader, state.records]);
  const shown = useMemo(() => reader.pending(pending), [reader, pending]);

  // Without a codec, what a record holds is as sure as its stream's declaration: T is the caller's word.
  return useMemo(
    () => ({ ...state, ...read, pending: shown, retry: feed.retry }) as UseRecords<T>,
    [state, read, shown, feed],
  );
}

/** The records of one output stream, live: first those that are there. Without a run id it waits for one. */
export function useOutputStream<T = unknown>(
  stream: string | OutputStream<T>,
  runId: string | null | undefined,
  options: UseOutputStreamOptions = {},
): UseRecords<T> {
  return useRecords<T>(runId, { ...options, stream, direction: "output" });
}

function notArrived(
  sent: readonly PendingRecord[],
  records: readonly StreamRecord[],
  streamId: string | undefined,
): readonly PendingRecord[] {
  if (sent.length === 0) return NONE_PENDING;
  const arrived = new Set(records.map(identity));
  return sent.filter((record) => {
    const fits = streamId === undefined || record.streamId === streamId;
    return fits && !arrived.has(identity(record));
  });
}
