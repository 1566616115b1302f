/** One handler and the records that it was handed: handled one at a time, in order. */

/** What a buffer and its handlers need to know of a record. */
export interface Sequenced {
  readonly seq: number;
}

/** Called once, when a call has ended. */
export type Ended = (failed: boolean, error?: unknown) => void;

export interface HandlerQueueOptions<R> {
  /** Waits for an asynchronous call in the background. */
  readonly spawn: (call: PromiseLike<unknown>, ended: Ended) => void;
  /** Hears of every call that ended, with what it threw. */
  readonly finished: (record: R, failed: boolean, error?: unknown) => void;
}

/** Calls `handle` with each record, the next one only when the call before has ended. A throwing call holds nothing up. */
export class HandlerQueue<R extends Sequenced> {
  private waiting: R[] = [];
  private busy = false;

  constructor(
    private readonly handle: (record: R) => unknown,
    private readonly options: HandlerQueueOptions<R>,
  ) {}

  /** How many records it has not finished. */
  get length(): number {
    return this.waiting.length + (this.busy ? 1 : 0);
  }

  /** Handles the record, now or when its turn comes. */
  offer(record: R): void {
    this.waiting.push(record);
    this.work();
  }

  /** Begins no further call; one that has begun goes on. Returns the records whose turn had not come. */
  close(): R[] {
    const neverBegun = this.waiting;
    this.waiting = [];
    return neverBegun;
  }

  /** Takes away the records up to this one whose turn has not come, and returns them. */
  drop(throughSeq: number): R[] {
    const dropped = this.waiting.filter((record) => record.seq <= throughSeq);
    this.waiting = this.waiting.filter((record) => record.seq > throughSeq);
    return dropped;
  }

  private work(): void {
    while (!this.busy) {
      const record = this.waiting.shift();
      if (record === undefined) return;
      this.busy = true;
      let outcome: unknown;
      try {
        outcome = this.handle(record);
      } catch (error) {
        this.end(record, true, error);
        continue;
      }
      if (isPromiseLike(outcome)) {
        this.options.spawn(outcome, (failed, error) => {
          this.end(record, failed, error);
          this.work();
        });
      } else {
        this.end(record, false);
      }
    }
  }

  private end(record: R, failed: boolean, error?: unknown): void {
    this.busy = false;
    this.options.finished(record, failed, error);
  }
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === "function";
}
