import { create } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createBackoff } from "../backoff.js";
import type { Credentials } from "../credentials.js";
import { fromCall } from "../call-error.js";
import { MidstreamError } from "../error.js";
import { type SendRequest, SendRequestSchema, StreamService } from "../gen/midstream/v1/stream_service_pb.js";
import { toSendResult } from "../models.js";
import { anySignal } from "../signals.js";
import { sleep } from "../sleep.js";
import { type Courier, MAX_BATCH_BYTES, MAX_BATCH_RECORDS } from "./courier.js";
import { type Waiting, waitFor } from "./waiting.js";

/** How long the call stays open without anything to send, so that a program with nothing left to do can end. */
const IDLE_MS = 1_000;

/** One request on the call: records for one stream. */
interface Frame {
  readonly runId: string;
  readonly streamId: string;
  members: Waiting[];
  sizeBytes: number;
}

/**
 * Sends by one pipelined call for all streams, opened when needed and again when it breaks. Every record has a key, so what
 * got no answer before that is simply sent again, in the same order. Frames fill up while the connection is busy.
 */
export function createPipeline(
  transport: Transport,
  credentials: Credentials,
  closed: AbortSignal,
  defaultTimeoutMs: number,
): Courier {
  const unwritten: Frame[] = [];
  const written: Frame[] = [];
  /** Each stream's newest unwritten frame: it takes more records. */
  const open = new Map<string, Frame>();
  const backoff = createBackoff();
  let running = false;
  let refreshed = false;
  let wake = () => {};

  async function run(): Promise<void> {
    running = true;
    while (unwritten.length > 0 && !closed.aborted) {
      let secret: string | undefined;
      try {
        secret = await credentials.get();
        await serve(secret);
      } catch (failed) {
        await recover(fromCall(failed), secret);
      }
    }
    running = false;
    const error = new MidstreamError("the client was closed before the server answered; the record may be stored", {
      code: "CANCELLED",
    });
    for (const frame of unwritten.splice(0)) fail(frame, error);
  }

  /** Writes and reads until there is nothing left to do. Throws where the call ends before that. */
  async function serve(secret: string | undefined): Promise<void> {
    const call = anySignal([closed]);
    const header = secret === undefined ? undefined : { authorization: `Bearer ${secret}` };
    try {
      const method = StreamService.method.send;
      const response = await transport.stream(method, call.signal, undefined, header, requests(call.signal));
      for await (const { receipts } of response.message) {
        const frame = written.shift();
        if (receipts.length !== frame?.members.length) {
          if (frame) written.unshift(frame);
          throw new MidstreamError("the server's receipts fit no request", { code: "DATA_LOSS" });
        }
        backoff.reset();
        refreshed = false;
        frame.members.forEach((member, index) => {
          const receipt = receipts[index];
          if (receipt) member.settle(toSendResult(receipt));
        });
      }
      if (written.length > 0) throw new MidstreamError("the server ended the call", { code: "UNAVAILABLE" });
    } finally {
      wake();
      call.abort();
    }
  }

  /** The frames, as they come; ends when none has come for a while and all are answered. */
  async function* requests(ended: AbortSignal): AsyncGenerator<SendRequest, void, undefined> {
    while (!ended.aborted) {
      const frame = nextFrame();
      if (frame) {
        written.push(frame);
        const { runId, streamId, members } = frame;
        yield create(SendRequestSchema, { runId, streamId, records: members.map((member) => member.draft.record) });
      } else if (!(await somethingToDo()) && written.length === 0) {
        return;
      }
    }
  }

  function nextFrame(): Frame | undefined {
    for (;;) {
      const frame = unwritten.shift();
      if (!frame) return undefined;
      const name = `${frame.runId}/${frame.streamId}`;
      if (open.get(name) === frame) open.delete(name);
      frame.members = frame.members.filter((member) => !member.gone);
      if (frame.members.length > 0) return frame;
    }
  }

  /** False: nothing came for a while. */
  function somethingToDo(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), IDLE_MS);
      wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  /** The call ended with `error`: fails what cannot be helped, and waits before the rest is sent again. */
  async function recover(error: MidstreamError, secret: string | undefined): Promise<void> {
    const lost = written.splice(0);
    open.clear(); // so that one frame's records are of about the same age
    if (error.reason === "TOKEN_EXPIRED" && !refreshed && credentials.discard(secret)) {
      refreshed = true;
      unwritten.unshift(...lost);
      return;
    }
    const delayMs = backoff.delayMs(error);
    if (delayMs === undefined) {
      // The server does not say which record it is about, so everything that it may have seen is failed.
      for (const frame of lost.length > 0 ? lost : unwritten.splice(0)) fail(frame, error);
      return;
    }
    unwritten.unshift(...lost);
    await sleep(delayMs, closed).catch(() => {});
  }

  return {
    put(runId, streamId, draft, options) {
      const timeoutMs = options?.timeoutMs ?? defaultTimeoutMs;
      const member = waitFor(draft, { signal: options?.signal, timeoutMs }, () => {});
      const name = `${runId}/${streamId}`;
      const last = open.get(name);
      if (last && last.members.length < MAX_BATCH_RECORDS && last.sizeBytes + draft.sizeBytes <= MAX_BATCH_BYTES) {
        last.members.push(member);
        last.sizeBytes += draft.sizeBytes;
      } else {
        const frame = { runId, streamId, members: [member], sizeBytes: draft.sizeBytes };
        open.set(name, frame);
        unwritten.push(frame);
      }
      wake();
      if (!running) void run();
      return member.answer;
    },
  };
}

function fail(frame: Frame, error: MidstreamError): void {
  for (const member of frame.members) member.settle({ ok: false, error });
}
