import type { Client } from "../client.js";
import { applyRewinds } from "../follow/rewinds.js";
import type { Direction, PayloadForm, StreamRecord } from "../models.js";
import type { CurrentCredential } from "./credential.js";
import { createFeed, type Feed, type Followed } from "./feed.js";

/** Which records to follow. */
export interface RecordsTarget {
  readonly runId: string;
  /** Undefined: all streams of the direction. */
  readonly streamId: string | undefined;
  readonly direction: Direction;
  readonly view: PayloadForm;
  /** Records behind this offset. */
  readonly afterOffset: number;
  /** How many records to keep: the newest. */
  readonly limit: number;
}

/** The records so far. */
export interface FollowedRecords<T = unknown> extends Followed {
  /** In offset order, without those that were rewound. The same array until something changes. */
  readonly records: readonly StreamRecord<T>[];
  /** How many older records were let go because of the limit. */
  readonly omittedCount: number;
  /** Everything up to this offset has been seen. */
  readonly asOfOffset: number;
}

export const NO_RECORDS: FollowedRecords = Object.freeze({
  status: "open",
  error: undefined,
  records: Object.freeze([]),
  omittedCount: 0,
  asOfOffset: 0,
});

/** Two targets with one key are one feed. */
export function targetKey(target: RecordsTarget): string {
  const { runId, streamId, direction, view, afterOffset, limit } = target;
  return JSON.stringify([runId, streamId ?? null, direction, view, afterOffset, limit]);
}

/** True where the target's feed will give the records of the stream. */
export function covers(target: RecordsTarget, runId: string, streamId: string): boolean {
  const sameStream = target.streamId === undefined || target.streamId === streamId;
  return target.direction === "input" && target.runId === runId && sameStream;
}

/** `onRecords`: called with new records before they show. */
export function createRecordsFeed(
  client: Client,
  target: RecordsTarget,
  credential: CurrentCredential,
  onRecords: (records: readonly StreamRecord[]) => void,
  onClose: () => void,
): Feed<FollowedRecords> {
  return createFeed<FollowedRecords>(
    { ...NO_RECORDS, asOfOffset: target.afterOffset },
    credential,
    (known, accessToken, { update, onEnd, onError }) =>
      client.followRecords(target.runId, {
        stream: target.streamId,
        direction: target.direction,
        view: target.view,
        afterOffset: known.asOfOffset,
        accessToken,
        onRecords(records, asOfOffset) {
          update((state) => extended(state, records, asOfOffset, target.limit));
          onRecords(records);
        },
        onEnd,
        onError,
      }),
    onClose,
  );
}

function extended(
  state: FollowedRecords,
  records: readonly StreamRecord[],
  asOfOffset: number,
  limit: number,
): FollowedRecords {
  if (records.length === 0) return { ...state, asOfOffset };
  const all = applyRewinds([...state.records, ...records]);
  const excess = Math.max(0, all.length - limit);
  return { ...state, records: all.slice(excess), omittedCount: state.omittedCount + excess, asOfOffset };
}
