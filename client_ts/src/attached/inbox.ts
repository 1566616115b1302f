import type { MidstreamError } from "../error.js";
import type { StreamRecord } from "../models.js";
import { HandlerQueue } from "../receiving/handler-queue.js";
import type { TakeOptions } from "../receiving/receiver.js";
import { StreamBuffer } from "../receiving/stream-buffer.js";
import { UnrecordedFailures } from "./failures.js";
import { Subscription, type Wire } from "./subscription.js";

/** One stream of an attached run. Hands out records at the end of the turn in which they arrived or were asked for. */
export class AttachedInbox {
  readonly #buffer: StreamBuffer<StreamRecord>;
  readonly #failures: UnrecordedFailures;
  readonly #subscription: Subscription;
  readonly #calls = new Set<Promise<void>>();
  readonly #pending = new Set<(error: unknown) => void>();
  #turnIsDue = false;
  #taken: StreamRecord[] = [];
  #closedBy: { error: unknown } | undefined;

  /** `signal` ends the subscription; `broken` hears of an error for good. */
  constructor(
    wire: Wire,
    runId: string,
    streamId: string,
    signal: AbortSignal,
    broken: (error: MidstreamError) => void,
  ) {
    this.#buffer = new StreamBuffer<StreamRecord>({
      wake: () => this.#wake(),
      caughtUp: () => this.#subscription.caughtUp,
    });
    this.#failures = new UnrecordedFailures(runId, streamId);
    this.#subscription = new Subscription(wire, runId, streamId, this.#buffer, this.#failures, signal, (error) => {
      this.close(error);
      broken(error);
    });
  }

  // What an input stream asks for.

  /** Returns what switches the handler off. */
  on(handle: (record: StreamRecord) => unknown, name: string): () => void {
    this.#use();
    const queue = new HandlerQueue<StreamRecord>(handle, {
      spawn: (call, ended) => {
        const tracked = Promise.resolve(call)
          .then(
            () => ended(false),
            (error: unknown) => ended(true, error),
          )
          .then(() => void this.#calls.delete(tracked));
        this.#calls.add(tracked);
      },
      finished: ({ seq }, failed, error) => {
        if (failed) this.#failures.add(seq, name, error);
        this.#buffer.tracker.finish(seq);
        this.#subscription.progressed();
      },
    });
    this.#buffer.attach(queue);
    return () => this.#buffer.detach(queue);
  }

  async once(options: TakeOptions): Promise<StreamRecord | undefined> {
    this.#use();
    this.#finishTaken();
    const [record] = await this.#take(options);
    return record;
  }

  async drain(): Promise<StreamRecord[]> {
    this.#use();
    this.#finishTaken();
    return this.#take({ timeoutMs: 0 }, true);
  }

  /** Undoes that these were taken: they are the next ones again. */
  giveBack(records: readonly StreamRecord[]): void {
    this.#taken = this.#taken.filter((record) => !records.includes(record));
    this.#buffer.giveBack(records);
  }

  newest(): StreamRecord | undefined {
    this.#use();
    this.#subscription.lookIfHeldBack();
    return this.#buffer.newest();
  }

  async ack(): Promise<void> {
    this.#use();
    this.#finishTaken();
    await this.#subscription.acknowledge();
  }

  // What the run asks for.

  /** The newest unconsumed record as the run was attached: peek shows it before the subscription brings it. */
  glimpse(newest: StreamRecord): void {
    this.#buffer.glimpse(newest);
  }

  /** Begins no further handler call. Pending receives, and whoever asks from now on, get `error`. */
  close(error: unknown): void {
    if (this.#closedBy) return;
    this.#closedBy = { error };
    this.#buffer.close();
    this.#subscription.close();
    for (const reject of [...this.#pending]) reject(error);
  }

  /** Resolves when the handler calls that have begun have ended. */
  async callsEnded(): Promise<void> {
    while (this.#calls.size > 0) await Promise.all(this.#calls);
  }

  /** The last acknowledgement, on disk when this resolves. `taken`: what receives took is done with, too. */
  async acknowledge(options: { taken: boolean }): Promise<void> {
    if (options.taken) this.#finishTaken();
    await this.#subscription.acknowledge();
  }

  #use(): void {
    if (this.#closedBy) throw this.#closedBy.error;
    this.#subscription.start();
  }

  #wake(): void {
    if (this.#turnIsDue) return;
    this.#turnIsDue = true;
    // Behind everything that is ready to run: then the turn is dry.
    setImmediate(() => {
      this.#turnIsDue = false;
      if (!this.#buffer.handOut()) return;
      this.#subscription.progressed();
      // What the record set going runs before the next one is handed out.
      this.#wake();
    });
  }

  #take({ timeoutMs, signal }: TakeOptions, everything = false): Promise<StreamRecord[]> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      let settled = false;
      const leave = () => {
        settled = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", aborted);
        this.#pending.delete(fail);
      };
      const receive = this.#buffer.receive(
        () => {
          if (settled) return false;
          leave();
          this.#taken.push(...receive.records);
          resolve(receive.records);
          return true;
        },
        { immediate: timeoutMs === 0, everything },
      );
      const fail = (error: unknown) => {
        leave();
        this.#buffer.cancel(receive);
        reject(error);
      };
      const aborted = () => fail(signal?.reason);
      const timer = timeoutMs ? setTimeout(() => this.#buffer.expire(receive), timeoutMs) : undefined;
      this.#pending.add(fail);
      signal?.addEventListener("abort", aborted);
    });
  }

  /** Whoever asks for more is done with what it took before. */
  #finishTaken(): void {
    const taken = this.#taken;
    this.#taken = [];
    for (const record of taken) this.#buffer.tracker.finish(record.seq);
    if (taken.length > 0) this.#subscription.progressed();
  }
}
