import { MidstreamError } from "../error.js";
import type { Receipt, StreamRecord } from "../models.js";
import { createStore, type Store } from "./store.js";

/** A record that was sent from here and is not among the followed records yet. */
export interface PendingRecord<T = unknown> {
  readonly runId: string;
  readonly streamId: string;
  readonly value: T;
  /** The same as on the record that it becomes: fit for a React `key`. */
  readonly idempotencyKey: string;
  readonly sendTime: Date;
  /** On its way; on the server's disk; refused. */
  readonly status: "sending" | "stored" | "failed";
  /** Why it was refused; undefined unless `status` is `failed`. */
  readonly error: MidstreamError | undefined;
  /** Sends it again, with the same key. Does nothing unless it has failed. */
  readonly retry: () => void;
  /** Shows it no longer. Does nothing unless it has failed. */
  readonly dismiss: () => void;
}

/** What became of a send. */
export type SendOutcome =
  | { readonly ok: true; readonly receipt: Receipt; readonly error: undefined }
  | { readonly ok: false; readonly receipt: undefined; readonly error: MidstreamError };

/** What was sent to one run from here. */
export interface Outbox {
  readonly pending: Pick<Store<readonly PendingRecord[]>, "get" | "subscribe">;
  /** Sends by calling `deliver`, and shows the record until it arrives. A key that shows already shows once. */
  readonly send: (draft: Draft, deliver: () => Promise<Receipt>) => Promise<SendOutcome>;
  /** Takes away those that have become records, and those that no feed is going to bring. */
  readonly settle: (arrived: readonly StreamRecord[]) => void;
}

type Draft = Pick<PendingRecord, "streamId" | "value" | "idempotencyKey">;

export const NONE_PENDING: readonly PendingRecord[] = Object.freeze([]);
const MOST_SHOWN = 200;

/** Equal for a record that is being sent and the one that it becomes: keys are scoped to a stream. */
export function identity(record: Pick<PendingRecord, "streamId" | "idempotencyKey">): string {
  return `${record.streamId} ${record.idempotencyKey}`;
}

/** `isAwaited`: true where some feed is going to bring the stream's record at this offset. */
export function createOutbox(runId: string, isAwaited: (streamId: string, offset: number) => boolean): Outbox {
  const pending = createStore<readonly PendingRecord[]>(NONE_PENDING);
  const offsets = new WeakMap<PendingRecord, number>();

  const shown = (id: string) => pending.get().find((record) => identity(record) === id);

  function keep(isWanted: (record: PendingRecord) => boolean): void {
    const kept = pending.get().filter(isWanted);
    if (kept.length < pending.get().length) pending.set(kept.length > 0 ? kept : NONE_PENDING);
  }

  function replace(id: string, change: Partial<PendingRecord>, offset?: number): void {
    const all = pending.get().map((record) => {
      if (identity(record) !== id) return record;
      const next = { ...record, ...change };
      if (offset !== undefined) offsets.set(next, offset);
      return next;
    });
    pending.set(all);
  }

  /** False where it shows already, and so belongs to another send. */
  function show(draft: Draft, deliver: () => Promise<Receipt>): boolean {
    const id = identity(draft);
    const before = shown(id);
    if (before !== undefined && before.status !== "failed") return false;
    const isFailed = () => shown(id)?.status === "failed";
    const record: PendingRecord = {
      ...draft,
      runId,
      sendTime: before?.sendTime ?? new Date(),
      status: "sending",
      error: undefined,
      retry: () => {
        if (isFailed()) void send(draft, deliver);
      },
      dismiss: () => {
        if (isFailed()) keep((other) => identity(other) !== id);
      },
    };
    if (before === undefined) pending.set([...pending.get().slice(1 - MOST_SHOWN), record]);
    else pending.set(pending.get().map((other) => (other === before ? record : other)));
    return true;
  }

  function settle(arrived: readonly StreamRecord[]): void {
    if (pending.get().length === 0) return;
    const there = new Set(arrived.map(identity));
    keep((record) => {
      const offset = offsets.get(record);
      return !there.has(identity(record)) && (offset === undefined || isAwaited(record.streamId, offset));
    });
  }

  async function send(draft: Draft, deliver: () => Promise<Receipt>): Promise<SendOutcome> {
    const isOurs = show(draft, deliver);
    try {
      const receipt = await deliver();
      if (isOurs) {
        replace(identity(draft), { status: "stored" }, receipt.offset);
        settle([]);
      }
      return { ok: true, receipt, error: undefined };
    } catch (cause) {
      const error = cause instanceof MidstreamError ? cause : new MidstreamError(String(cause), { cause });
      if (isOurs) replace(identity(draft), { status: "failed", error });
      return { ok: false, receipt: undefined, error };
    }
  }

  return { pending, send, settle };
}
