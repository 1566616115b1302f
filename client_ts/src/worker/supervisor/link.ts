/** The worker's call to the server, made again whenever it breaks. */

import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createBackoff } from "../../backoff.js";
import type { Credentials } from "../../credentials.js";
import { fromCall } from "../../call-error.js";
import { MidstreamError } from "../../error.js";
import { WorkerService, type WorkRequest, type WorkResponse } from "../../gen/midstream/v1/worker_service_pb.js";
import { sleep } from "../../sleep.js";

export interface LinkUser {
  /** The first frame of a call. */
  openFrame(): WorkRequest;
  received(frame: WorkResponse): void;
  /** The call ended or could not be made; the next one is in so many milliseconds. */
  broken(error: MidstreamError, retryMs: number): void;
}

/** One call at a time. What is sent while there is none is dropped: a new call begins with what still matters. */
export class Link {
  private readonly service: Client<typeof WorkerService>;
  private outgoing: Outgoing | undefined;
  private call: AbortController | undefined;
  private isOpen = false;
  private reopening = false;
  private readonly ending = new AbortController();

  constructor(
    transport: Transport,
    private readonly credentials: Credentials,
    private readonly user: LinkUser,
  ) {
    this.service = createClient(WorkerService, transport);
  }

  /** False: there is no call. */
  send(frame: WorkRequest): boolean {
    if (!this.isOpen || this.outgoing === undefined) return false;
    this.outgoing.put(frame);
    return true;
  }

  /** Until `end`. Rejects with MidstreamError where the very first call is refused for good. */
  async run(): Promise<void> {
    const backoff = createBackoff();
    let wasOpen = false;
    while (!this.ending.signal.aborted) {
      this.reopening = false;
      const error = await this.oneCall(() => {
        wasOpen = true;
        backoff.reset();
      });
      if (this.ending.signal.aborted) return;
      if (this.reopening) continue;
      let delayMs = backoff.delayMs(error);
      if (delayMs === undefined) {
        if (!wasOpen) throw error;
        // A refusal amid good work, of one frame perhaps: the runs that go on are worth another call.
        delayMs = backoff.delayMs(new MidstreamError(error.message, { code: "UNAVAILABLE" })) ?? 0;
      }
      this.user.broken(error, delayMs);
      await sleep(delayMs, this.ending.signal).catch(() => undefined);
    }
  }

  /** Ends the call, and makes another at once. */
  reopen(): void {
    this.reopening = true;
    this.isOpen = false;
    this.call?.abort();
  }

  /** Ends the call; what was said before still goes out, for so long. */
  async end(graceMs: number): Promise<void> {
    const { outgoing, call } = this;
    this.ending.abort();
    outgoing?.close();
    if (call === undefined) return;
    const grace = sleep(graceMs, call.signal).catch(() => undefined);
    await grace;
    call.abort();
  }

  private hand(frame: WorkResponse): void {
    try {
      this.user.received(frame);
    } catch (cause) {
      throw new Fault("the worker failed", { cause });
    }
  }

  private async oneCall(opened: () => void): Promise<MidstreamError> {
    const call = new AbortController();
    const outgoing = new Outgoing();
    this.call = call;
    this.outgoing = outgoing;
    try {
      const secret = await this.credentials.get();
      outgoing.put(this.user.openFrame());
      const headers = secret === undefined ? {} : { headers: { authorization: `Bearer ${secret}` } };
      for await (const frame of this.service.work(outgoing, { signal: call.signal, ...headers })) {
        if (frame.frame.case === "opened") {
          this.isOpen = true;
          opened();
        }
        this.hand(frame);
      }
      return new MidstreamError("the server ended the call", { code: "UNAVAILABLE" });
    } catch (failed) {
      if (failed instanceof Fault) throw failed.cause;
      return fromCall(failed);
    } finally {
      this.isOpen = false;
      this.outgoing = undefined;
      this.call = undefined;
      outgoing.close();
      call.abort();
    }
  }
}

/** An error of the worker's own: another call would meet it again. */
class Fault extends Error {}

/** Frames on their way out. */
class Outgoing implements AsyncIterable<WorkRequest> {
  private readonly frames: WorkRequest[] = [];
  private closed = false;
  private wake: (() => void) | undefined;

  put(frame: WorkRequest): void {
    this.frames.push(frame);
    this.wake?.();
  }

  close(): void {
    this.closed = true;
    this.wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WorkRequest> {
    for (;;) {
      for (const frame of this.frames.splice(0)) yield frame;
      if (this.frames.length > 0) continue;
      if (this.closed) return;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
