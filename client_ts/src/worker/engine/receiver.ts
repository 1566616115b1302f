/** All input streams of a managed run. */

import type { Entry_RecordsDropped } from "../../gen/midstream/v1/entry_pb.js";
import type { HandlerFailure } from "../../gen/midstream/v1/handler_failure_pb.js";
import type { Receive } from "../../receiving/stream-buffer.js";
import type { StreamRecord } from "../../models.js";
import { RunCancelled } from "./errors.js";
import { handlerFailureOf } from "./failures.js";
import { ManagedInbox } from "./inbox.js";
import type { Operations } from "./operations.js";
import type { Timers } from "./timers.js";
import type { Turn } from "./turn.js";

export interface TakeOptions {
  /** Microseconds; 0 takes only what is there, undefined waits for ever. */
  readonly timeoutUs?: number | undefined;
  /** All that is there, instead of one. */
  readonly everything?: boolean;
  readonly signal?: AbortSignal | undefined;
}

type TakeKind = "drain" | "once" | "wait" | "wait_any";

/** A call that waits for a record on one stream or several. */
interface Taking {
  readonly suspends: boolean;
  end(error?: unknown): void;
}

/** Puts the log's records into the streams' buffers, and hands them out one at a time, the oldest first. */
export class ManagedReceiver {
  readonly newFailures: HandlerFailure[] = [];
  /** Calls of async handlers that have begun and not ended. */
  calls = 0;
  private readonly inboxes = new Map<string, ManagedInbox>();
  private readonly woken = new Set<ManagedInbox>();
  private readonly taking = new Set<Taking>();
  private taken: [ManagedInbox, StreamRecord][] = [];
  private closed = false;

  constructor(
    private readonly runId: string,
    readonly operations: Operations,
    private readonly timers: Timers,
    private readonly turn: Turn,
    private readonly quiet: () => boolean,
    private readonly report: (text: string, error: unknown) => void,
  ) {}

  get all(): Iterable<ManagedInbox> {
    return this.inboxes.values();
  }

  /** The streams that a handler or a pending receive waits on. */
  get listening(): string[] {
    return [...this.inboxes.values()].filter((inbox) => inbox.buffer.listening).map((inbox) => inbox.streamId);
  }

  /** Receives that need this process, and receives that do not. */
  get pending(): { once: number; waits: number } {
    let waits = 0;
    for (const { suspends } of this.taking) if (suspends) waits += 1;
    return { once: this.taking.size - waits, waits };
  }

  inbox(streamId: string): ManagedInbox {
    let inbox = this.inboxes.get(streamId);
    if (inbox === undefined) {
      inbox = new ManagedInbox(this, streamId);
      this.inboxes.set(streamId, inbox);
    }
    return inbox;
  }

  wake(inbox: ManagedInbox): void {
    this.woken.add(inbox);
  }

  put(record: StreamRecord): void {
    const { buffer } = this.inbox(record.streamId);
    // Where a generation's first record is not the stream's, what lies before it was consumed by earlier ones.
    if (buffer.receivedSeq === 0) buffer.startBehind(record.seq - 1);
    buffer.put([record]);
  }

  drop({ streamId, firstSeq, lastSeq }: Entry_RecordsDropped): void {
    this.inbox(streamId).buffer.drop(Number(firstSeq), Number(lastSeq));
  }

  /** Hands out the oldest record that anyone asked for, of all streams. False: there is none. */
  handOut(): boolean {
    while (this.woken.size > 0) {
      const inbox = this.oldestWoken();
      if (inbox.buffer.handOut()) return true;
      this.woken.delete(inbox);
    }
    return false;
  }

  /** One receive on each stream, of which one gets something. Empty where the timeout came first. */
  take(kind: TakeKind, streamIds: readonly string[], options: TakeOptions = {}): Promise<StreamRecord[]> {
    const { timeoutUs, everything = false, signal } = options;
    this.refuseWhenClosed();
    signal?.throwIfAborted();
    const operation = this.operations.issue(kind, streamIds.join(" "));
    const inboxes = streamIds.map((id) => this.inbox(id));
    return new Promise<StreamRecord[]>((resolve, reject) => {
      const receives: [ManagedInbox, Receive<StreamRecord>][] = [];
      const leave = (): void => {
        this.taking.delete(taking);
        this.timers.disarm(operation);
        signal?.removeEventListener("abort", abort);
      };
      const taking: Taking = {
        suspends: kind === "wait" || kind === "wait_any",
        end: (error) => {
          leave();
          for (const [inbox, receive] of receives) inbox.buffer.cancel(receive);
          if (error === undefined) resolve([]);
          else reject(error);
        },
      };
      const abort = (): void => taking.end(signal?.reason);
      const settle = (): boolean => {
        if (!this.taking.has(taking)) return false;
        leave();
        const taken: StreamRecord[] = [];
        for (const [inbox, receive] of receives) {
          if (receive.records.length === 0) inbox.buffer.cancel(receive);
          for (const record of receive.records) {
            this.taken.push([inbox, record]);
            taken.push(record);
          }
        }
        resolve(taken);
        return true;
      };
      this.taking.add(taking);
      signal?.addEventListener("abort", abort, { once: true });
      if (timeoutUs) this.timers.arm(operation, this.turn.nowUs + timeoutUs, () => taking.end());
      for (const inbox of inboxes) {
        receives.push([inbox, inbox.buffer.receive(settle, { immediate: timeoutUs === 0, everything })]);
      }
    });
  }

  /** Undoes that these were taken in this turn: they are the next ones again. */
  giveBack(records: readonly StreamRecord[]): void {
    this.taken = this.taken.filter(([, record]) => !records.includes(record));
    for (const record of records) this.inbox(record.streamId).buffer.giveBack([record]);
  }

  /** What was taken in this turn is consumed now. */
  turnEnded(): void {
    const taken = this.taken;
    if (taken.length === 0) return;
    this.taken = [];
    for (const [inbox, record] of taken) inbox.buffer.tracker.finish(record.seq);
  }

  /** Whoever waits for a record gets the error; nobody loses one. */
  cancelAll(error: unknown): void {
    for (const taking of [...this.taking]) taking.end(error);
  }

  /** The run's function has ended: nothing more is handed out. */
  close(): void {
    this.closed = true;
    for (const inbox of this.inboxes.values()) inbox.buffer.close();
    this.cancelAll(this.ended());
    this.woken.clear();
  }

  refuseWhenClosed(): void {
    if (this.closed) throw this.ended();
  }

  /** Awaits an async handler. That the run is cancelled is no failure of its own. */
  startCall(call: PromiseLike<unknown>, ended: (failed: boolean, error?: unknown) => void): void {
    this.calls += 1;
    call.then(
      () => {
        this.calls -= 1;
        ended(false);
      },
      (error: unknown) => {
        this.calls -= 1;
        ended(!(error instanceof RunCancelled), error);
      },
    );
  }

  handlerFailed(streamId: string, seq: number, handler: string, error: unknown): void {
    // The checkpoint that ends the quiet has reported it.
    if (this.quiet()) return;
    this.newFailures.push(handlerFailureOf(streamId, seq, handler, error));
    this.report(
      `handler ${handler} threw on record ${seq} of stream ${streamId}, run ${this.runId}; delivery goes on`,
      error,
    );
  }

  private oldestWoken(): ManagedInbox {
    let oldest: ManagedInbox | undefined;
    for (const inbox of this.woken) {
      if (oldest === undefined || offsetOf(inbox) < offsetOf(oldest)) oldest = inbox;
    }
    return oldest as ManagedInbox;
  }

  private ended(): Error {
    return new Error(`the function of run ${this.runId} has ended: it receives no more records`);
  }
}

function offsetOf(inbox: ManagedInbox): number {
  return inbox.buffer.oldest?.offset ?? Number.POSITIVE_INFINITY;
}
