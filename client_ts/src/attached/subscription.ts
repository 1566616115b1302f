import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createBackoff } from "../backoff.js";
import type { Calls } from "../calls.js";
import type { Credentials } from "../credentials.js";
import { fromCall } from "../call-error.js";
import { MidstreamError } from "../error.js";
import {
  StreamService,
  type SubscribeRequest,
  SubscribeRequestSchema,
  type SubscribeResponse,
} from "../gen/midstream/v1/stream_service_pb.js";
import { type StreamRecord, toNumber, toRecord } from "../models.js";
import type { StreamBuffer } from "../receiving/stream-buffer.js";
import { anySignal } from "../signals.js";
import { sleep } from "../sleep.js";
import type { UnrecordedFailures } from "./failures.js";

/** How many records the process holds at most before it has handled some: the server keeps the others. */
const WINDOW = 1_000;

/** Between two acknowledgements: so that they come in batches and leave the server's commits to the senders. */
const ACK_PAUSE_MS = 50;

/** What an attached run talks to the server with. */
export interface Wire {
  readonly calls: Calls;
  readonly transport: Transport;
  readonly credentials: Credentials;
}

/**
 * One stream's Subscribe call: puts records into the buffer, and tells the server what became of them. Reconnects by
 * itself, without a gap or a repeat. Grants credit as the buffer empties, not as it fills.
 */
export class Subscription {
  readonly #backoff = createBackoff();
  #started = false;
  #holderEpoch = 0n;
  #lastKnownSeq = 0;
  #looking = false;
  #credit = 0;
  #acked = 0;
  #ackSent = 0;
  #ackTimer: ReturnType<typeof setTimeout> | undefined;
  #ackIsDue = false;
  #wakeWriter = () => {};

  constructor(
    private readonly wire: Wire,
    private readonly runId: string,
    private readonly streamId: string,
    private readonly buffer: StreamBuffer<StreamRecord>,
    private readonly failures: UnrecordedFailures,
    /** Ends it. */
    private readonly signal: AbortSignal,
    /** Hears of an error that no reconnecting helps against, such as FENCED. */
    private readonly broken: (error: MidstreamError) => void,
  ) {}

  /** Subscribes, the first time it is called. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    void this.#run();
  }

  /** Whether all that was stored has arrived, or as much as the window takes. */
  get caughtUp(): boolean {
    if (this.#holderEpoch === 0n || this.#looking) return false;
    return this.buffer.receivedSeq >= this.#lastKnownSeq || this.buffer.backlog >= WINDOW;
  }

  /** Records were handed out or finished: there may be something to acknowledge, or credit to grant. */
  progressed(): void {
    const isNew = this.#ackSent <= this.#acked && this.#acked < this.buffer.tracker.cursor;
    if (this.#ackTimer === undefined && isNew && !this.signal.aborted) {
      this.#ackTimer = setTimeout(() => {
        this.#ackTimer = undefined;
        this.#ackIsDue = true;
        this.#wakeWriter();
      }, ACK_PAUSE_MS);
    }
    if (this.#grantable() >= WINDOW / 2) this.#wakeWriter();
  }

  /** Where the window is full, asks what is newest beyond it: peek is to show that. */
  lookIfHeldBack(): void {
    if (this.#holderEpoch !== 0n && this.#credit === 0 && !this.#looking) void this.#lookBeyond();
  }

  /** Acknowledges what is finished; on disk when this resolves. Throws MidstreamError. */
  async acknowledge(): Promise<void> {
    const { cursor } = this.buffer.tracker;
    const failures = this.failures.through(cursor);
    if (this.#holderEpoch === 0n || (cursor <= this.#acked && failures.length === 0)) return;
    const response = await this.wire.calls.unary(StreamService.method.ack, {
      runId: this.runId,
      streamId: this.streamId,
      holderEpoch: this.#holderEpoch,
      throughSeq: BigInt(cursor),
      failures,
    });
    this.#noteAcked(toNumber(response.cursor), cursor);
  }

  /** No more timers. */
  close(): void {
    clearTimeout(this.#ackTimer);
    this.#wakeWriter();
  }

  async #run(): Promise<void> {
    while (!this.signal.aborted) {
      try {
        await this.#subscribe();
        return;
      } catch (failed) {
        if (this.signal.aborted) return;
        const error = fromCall(failed);
        if (error.reason === "RUN_FINISHED") return; // the run's watch sees it too, and knows how it ended
        const delayMs = this.#backoff.delayMs(error);
        if (delayMs === undefined) {
          this.broken(error);
          return;
        }
        await sleep(delayMs, this.signal).catch(() => {});
      }
    }
  }

  /** One call; resolves when the run has ended. */
  async #subscribe(): Promise<void> {
    const secret = await this.wire.credentials.get();
    const header = secret === undefined ? undefined : { authorization: `Bearer ${secret}` };
    this.#credit = Math.max(WINDOW - this.buffer.backlog, 1);
    const call = anySignal([this.signal]);
    try {
      const { subscribe } = StreamService.method;
      const frames = this.#frames(call.signal);
      const response = await this.wire.transport.stream(subscribe, call.signal, undefined, header, frames);
      for await (const frame of response.message) if (this.#take(frame)) return;
      // The end without a last frame: whoever cut the call off, the stream is not over.
      throw new MidstreamError("the server ended the subscription without a word", { code: "UNAVAILABLE" });
    } finally {
      call.abort();
      this.#wakeWriter();
    }
  }

  /** The frames that are due, as they become due. */
  async *#frames(ended: AbortSignal): AsyncGenerator<SubscribeRequest, void, undefined> {
    yield frame({
      case: "open",
      value: {
        runId: this.runId,
        streamId: this.streamId,
        holderEpoch: this.#holderEpoch,
        credit: this.#credit,
        ...(this.#holderEpoch !== 0n && { afterSeq: BigInt(this.buffer.receivedSeq) }),
      },
    });
    while (!ended.aborted) {
      const records = this.#grantable();
      if (this.#ackIsDue) {
        this.#ackIsDue = false;
        this.#ackSent = this.buffer.tracker.cursor;
        const failures = this.failures.through(this.#ackSent);
        yield frame({ case: "ack", value: { throughSeq: BigInt(this.#ackSent), failures } });
      } else if (records >= WINDOW / 2) {
        this.#credit += records;
        yield frame({ case: "credit", value: { records } });
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeWriter = resolve;
        });
      }
    }
  }

  /** True: it was the last frame. */
  #take({ frame }: SubscribeResponse): boolean {
    switch (frame.case) {
      case "opened":
        this.#backoff.reset();
        this.#holderEpoch = frame.value.holderEpoch;
        this.#lastKnownSeq = toNumber(frame.value.lastSeq);
        this.buffer.startBehind(toNumber(frame.value.cursor));
        // What an acknowledgement of the call before came to, if anything, shows in the cursor.
        this.#ackSent = 0;
        this.#noteAcked(toNumber(frame.value.cursor), 0);
        this.buffer.wake();
        return false;
      case "records":
        this.#credit -= frame.value.records.length;
        this.buffer.put(frame.value.records.map(toRecord));
        this.lookIfHeldBack();
        return false;
      case "acked":
        this.#noteAcked(toNumber(frame.value.cursor), this.#ackSent);
        return false;
      case "runEnded":
        return true;
      default:
        return false;
    }
  }

  /** `throughSeq`: what was acknowledged. Dropped records may have moved the cursor beyond. */
  #noteAcked(cursor: number, throughSeq: number): void {
    this.#acked = Math.max(this.#acked, cursor);
    this.failures.recorded(Math.min(cursor, throughSeq));
    this.progressed();
  }

  #grantable(): number {
    return WINDOW - this.buffer.backlog - this.#credit;
  }

  async #lookBeyond(): Promise<void> {
    this.#looking = true;
    try {
      const { runId, streamId, signal } = this;
      const { record } = await this.wire.calls.unary(StreamService.method.peek, { runId, streamId }, { signal });
      if (record) {
        const newest = toRecord(record);
        this.#lastKnownSeq = Math.max(this.#lastKnownSeq, newest.seq);
        this.buffer.glimpse(newest);
      }
    } catch {
      // The subscription hears of it, too.
    } finally {
      this.#looking = false;
      this.buffer.wake();
    }
  }
}

function frame(value: NonNullable<MessageInitShape<typeof SubscribeRequestSchema>["frame"]>): SubscribeRequest {
  return create(SubscribeRequestSchema, { frame: value });
}
