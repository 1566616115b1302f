/** The records of one stream that a run has received and not consumed, and the four views of them. */

import { AckTracker } from "./ack-tracker.js";
import type { HandlerQueue, Sequenced } from "./handler-queue.js";

/** A call that waits for a record, or takes all there are. */
export interface Receive<R> {
  /** Tells the caller that `records` is final; false where the caller has gone and gets nothing. */
  readonly settle: () => boolean;
  /** Ends when the turn is dry and nothing is left to hand out. */
  readonly immediate: boolean;
  /** Goes on taking until then. */
  readonly everything: boolean;
  records: R[];
}

export interface StreamBufferOptions {
  /** Called whenever `handOut` may have something to do. */
  readonly wake: () => void;
  /** Whether all that was stored has been put; an immediate receive ends only then. */
  readonly caughtUp?: () => boolean;
}

/**
 * Handlers, receives and peek see one buffer: changing between them never loses or repeats a record.
 *
 * Nothing is handed out before `handOut` is called, which is when the turn is dry: so everything that one turn attached
 * shares what it finds.
 */
export class StreamBuffer<R extends Sequenced> {
  readonly tracker = new AckTracker();
  readonly wake: () => void;
  private readonly caughtUp: () => boolean;
  private records: R[] = [];
  private lastSeq = 0;
  private glimpsed: R | undefined;
  // Sets keep their order, and forget in constant time.
  private readonly handlers = new Set<HandlerQueue<R>>();
  private readonly receives = new Set<Receive<R>>();
  private closed = false;

  constructor({ wake, caughtUp = () => true }: StreamBufferOptions) {
    this.wake = wake;
    this.caughtUp = caughtUp;
  }

  /** How many unconsumed records have been received. */
  get length(): number {
    return this.records.length;
  }

  /** The newest record that was put; the next one is the one behind it. */
  get receivedSeq(): number {
    return this.lastSeq;
  }

  /** How many records wait here or for the slowest handler. */
  get backlog(): number {
    let slowest = 0;
    for (const handler of this.handlers) slowest = Math.max(slowest, handler.length);
    return this.records.length + slowest;
  }

  /** The record that is handed out next. */
  get oldest(): R | undefined {
    return this.records[0];
  }

  /** True where somebody waits for a record. */
  get listening(): boolean {
    return this.handlers.size > 0 || this.receives.size > 0;
  }

  /** The first record to come is the one behind the cursor. */
  startBehind(cursor: number): void {
    this.tracker.startBehind(cursor);
    this.lastSeq = Math.max(this.lastSeq, cursor);
  }

  /**
   * Takes records as they arrive, in seq order. One that was put before is left out: delivery may repeat it. Seqs
   * between two of them were dropped by the stream, which keeps only the newest.
   */
  put(records: Iterable<R>): void {
    for (const record of records) {
      if (record.seq <= this.lastSeq) continue;
      if (record.seq > this.lastSeq + 1) this.tracker.skip(this.lastSeq + 1, record.seq - 1);
      this.lastSeq = record.seq;
      this.records.push(record);
    }
    this.wake();
  }

  /**
   * The stream has dropped these: who has not begun with one does not get it, nor does a busy handler's queue. What
   * lies before `firstSeq` was consumed.
   */
  drop(firstSeq: number, lastSeq: number): void {
    this.records = this.records.filter((record) => record.seq > lastSeq);
    for (const handler of this.handlers) {
      for (const record of handler.drop(lastSeq)) this.tracker.release(record.seq);
    }
    this.tracker.skip(firstSeq, lastSeq);
  }

  /** The newest stored record, seen from afar: peek shows it until it is put itself. */
  glimpse(newest: R): void {
    if (this.glimpsed === undefined || newest.seq > this.glimpsed.seq) this.glimpsed = newest;
  }

  /** Peek: the newest unconsumed record, which stays where it is. */
  newest(): R | undefined {
    if (this.glimpsed !== undefined && this.glimpsed.seq > this.lastSeq) return this.glimpsed;
    return this.records.at(-1);
  }

  /** The handler gets every record from now on, first the buffered ones. */
  attach(handler: HandlerQueue<R>): void {
    this.handlers.add(handler);
    this.wake();
  }

  /** The handler gets no more. Records that waited for its turn, and for nobody else's, are unconsumed again. */
  detach(handler: HandlerQueue<R>): void {
    if (this.handlers.delete(handler)) this.giveBack(handler.close());
  }

  /** Joins the queue: first come, first served. */
  receive(settle: () => boolean, { immediate = false, everything = false } = {}): Receive<R> {
    const receive: Receive<R> = { settle, immediate, everything, records: [] };
    this.receives.add(receive);
    this.wake();
    return receive;
  }

  /** The receive's timeout has passed: it ends without a record, unless it has one. */
  expire(receive: Receive<R>): void {
    if (this.receives.delete(receive)) receive.settle();
  }

  /** The receive leaves the queue. A record that it got already goes back to its place. */
  cancel(receive: Receive<R>): void {
    this.receives.delete(receive);
    const records = receive.records;
    receive.records = [];
    this.giveBack(records);
  }

  /** Undoes that these were taken. What a handler has too stays consumed. */
  giveBack(records: Iterable<R>): void {
    for (const record of records) {
      if (this.tracker.release(record.seq)) this.insert(record);
    }
    this.wake();
  }

  /**
   * Hands out the oldest record to every handler, then to the oldest receive. False: there was nothing to do.
   *
   * Call it when the turn is dry, and again when what it set going has run, until it returns false.
   */
  handOut(): boolean {
    if (this.closed) return false;
    if (this.records.length > 0 && this.listening) {
      this.handOutOne(this.records.shift() as R);
      return true;
    }
    return this.caughtUp() && this.endImmediate();
  }

  /** The run's function has ended: nothing more is handed out, and no handler's call begins any more. */
  close(): void {
    this.closed = true;
    for (const handler of [...this.handlers]) this.detach(handler);
    this.receives.clear();
  }

  private handOutOne(record: R): void {
    // Our own use, so that a quick handler does not finish the record before the others have it.
    this.tracker.use(record.seq);
    for (const handler of [...this.handlers]) {
      if (!this.handlers.has(handler)) continue; // the handler before may have switched it off
      this.tracker.use(record.seq);
      handler.offer(record);
    }
    this.handToReceive(record);
    if (this.tracker.release(record.seq)) this.records.unshift(record);
  }

  private handToReceive(record: R): void {
    for (const receive of this.receives) {
      receive.records.push(record);
      this.tracker.use(record.seq);
      if (receive.everything) return;
      this.receives.delete(receive);
      if (receive.settle()) return;
      receive.records = [];
      this.tracker.release(record.seq);
    }
  }

  private endImmediate(): boolean {
    const ending = [...this.receives].filter((receive) => receive.immediate);
    for (const receive of ending) {
      this.receives.delete(receive);
      if (!receive.settle()) this.cancel(receive);
    }
    return ending.length > 0;
  }

  private insert(record: R): void {
    let place = this.records.length;
    while (place > 0 && (this.records[place - 1] as R).seq > record.seq) place -= 1;
    this.records.splice(place, 0, record);
  }
}
