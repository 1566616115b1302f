import type { MessageInitShape } from "@bufbuild/protobuf";
import { MidstreamError } from "../error.js";
import type { OutcomeSchema } from "../gen/midstream/v1/run_pb.js";
import { RunService } from "../gen/midstream/v1/run_service_pb.js";
import { StreamService } from "../gen/midstream/v1/stream_service_pb.js";
import type { CallOptions } from "../calls.js";
import { toRecord, toSendResult, type Receipt } from "../models.js";
import { existing, newRunId, type NewRun, runSpec } from "../methods/runs.js";
import { encodePayload } from "../payload.js";
import { type Run, toRun } from "../run.js";
import { draft, type RecordOptions } from "../sending/draft.js";
import { codecOf, type InputStream, type OutputStream, type StreamOrId, streamId } from "../streams.js";
import { describe } from "./failures.js";
import { AttachedInbox } from "./inbox.js";
import { attachedReceiver, type Inbox, inboxFrom, receivingBy } from "./receiver.js";
import type { Wire } from "./subscription.js";

/** Which run this process is to be: a new one of `task`, the one with `runId`, or either. */
export type AttachOptions =
  | (Partial<NewRun> & { task: string; signal?: AbortSignal | undefined })
  | (Partial<NewRun> & { runId: string; signal?: AbortSignal | undefined });

/** This process as a run, for as long as the block lasts. */
export interface AttachedRun {
  readonly id: string;
  /** The run as it stood when the server was last heard. */
  readonly info: Run;
  /** The run's argument. */
  readonly payload: unknown;
  /**
   * Aborted when the block should end: the run was cancelled, another process took one of its streams over, or the run
   * ended otherwise. Pending receives then reject with the reason, too.
   */
  readonly signal: AbortSignal;
  /** An input stream of this run, for code outside the block's own; within it the stream itself does. */
  input<T>(stream: InputStream<T, unknown>): Inbox<T>;
  input(stream: string): Inbox<unknown>;
  /** An output stream of the run. */
  output<T>(stream: OutputStream<T>): Output<T>;
  output(stream: string): Output<unknown>;
  /** Leaving the block, however that happens, will leave the run RUNNING for the next one to attach. */
  detach(): void;
}

/** An output stream inside a run. */
export interface Output<T> {
  /** Stores a record; when this resolves, it is on disk. */
  append(value: T, options?: RecordOptions & CallOptions): Promise<Receipt>;
}

const MAX_TYPE = 256;
const MAX_MESSAGE = 4_096;
const MAX_STACK = 65_536;

/**
 * Runs `block` as a run: COMPLETED with what it returns, FAILED where it throws, CANCELLED where the run was cancelled and
 * the block threw for that. Rejects with what the block threw; with FENCED where another process has taken over, which
 * leaves the run as it is.
 */
export async function attach<R>(
  wire: Wire,
  closed: AbortSignal,
  options: AttachOptions,
  block: (run: AttachedRun) => Promise<R> | R,
): Promise<R> {
  const { method } = RunService;
  const id = options.runId ?? newRunId();
  const { task, payload, maxDuration, metadata } = options;
  const spec =
    task === undefined ? {} : { spec: unlessUnset(payload, runSpec({ task, payload, maxDuration, metadata })) };
  const attached = await wire.calls.unary(method.attachRun, { runId: id, ...spec }, { signal: options.signal });
  let info = existing(attached.run);

  const interruption = new AbortController();
  const ended = new AbortController();
  const inboxes = new Map<string, AttachedInbox>();
  let left = false;
  let detached = false;

  let doHurry = () => {};
  /** Resolves when the run is interrupted: handler calls cannot be cut off, but need not be waited for. */
  const hurry = new Promise<void>((resolve) => {
    doHurry = resolve;
  });

  function interrupt(error: unknown): void {
    doHurry();
    if (left || interruption.signal.aborted) return;
    interruption.abort(error);
    closeAll();
  }

  function closeAll(): void {
    for (const inbox of inboxes.values()) inbox.close(whyOver());
  }

  function whyOver(): unknown {
    return interruption.signal.aborted ? interruption.signal.reason : new Error(`the block of run ${id} has been left`);
  }

  function inboxOf(stream: string): AttachedInbox {
    let inbox = inboxes.get(stream);
    if (!inbox) {
      inbox = new AttachedInbox(wire, id, stream, ended.signal, interrupt);
      inboxes.set(stream, inbox);
      if (left || interruption.signal.aborted) inbox.close(whyOver());
    }
    return inbox;
  }

  /** Looks at the newest record of every stream with unread ones, so that peek sees it in the first line. */
  async function glimpseUnread(): Promise<void> {
    const unread = info.streams.filter((stream) => stream.unreadCount > 0);
    await Promise.all(
      unread.map(async ({ streamId }) => {
        const { record } = await wire.calls.unary(StreamService.method.peek, { runId: id, streamId });
        if (record) inboxOf(streamId).glimpse(toRecord(record));
      }),
    );
  }

  /** Interrupts the block when the run is cancelled, or ended by somebody else. */
  async function watch(): Promise<void> {
    try {
      const states = wire.calls.stream(method.watchRun, () => ({ runId: id }), { signal: ended.signal });
      for await (const { run } of states) {
        if (!run) continue;
        info = toRun(run);
        if (info.state === "CANCELLED" || (info.cancelTime && !info.isFinal)) interrupt(cancelled(id));
        else if (info.isFinal) interrupt(finished(info));
      }
    } catch (error) {
      if (!ended.signal.aborted) interrupt(error);
    }
  }

  const receiver = attachedReceiver(inboxOf);
  const run: AttachedRun = {
    id,
    get info() {
      return info;
    },
    get payload() {
      return info.payload;
    },
    signal: interruption.signal,
    input: (stream: StreamOrId) => inboxFrom(stream, receiver, () => inboxOf(streamId(stream))) as never,
    output: (stream: StreamOrId) => ({
      async append(value: unknown, appendOptions?: RecordOptions & CallOptions) {
        const records = [draft(value, appendOptions, codecOf(stream)).record];
        const request = { runId: id, streamId: streamId(stream), records };
        const { receipts } = await wire.calls.unary(StreamService.method.appendOutput, request, appendOptions);
        const [receipt] = receipts.map(toSendResult);
        if (!receipt) throw new MidstreamError("no receipt", { code: "INTERNAL" });
        if (!receipt.ok) throw receipt.error;
        return receipt.receipt;
      },
    }),
    detach() {
      detached = true;
    },
  };

  async function finish(outcome: MessageInitShape<typeof OutcomeSchema>): Promise<void> {
    try {
      info = existing((await wire.calls.unary(method.finishRun, { runId: id, outcome })).run);
    } catch (error) {
      if (!(error instanceof MidstreamError && error.reason.startsWith("PAYLOAD_"))) throw error;
      // A result that cannot be stored must not leave the run without an end.
      await wire.calls.unary(method.finishRun, { runId: id, outcome: failureOf(error) });
      throw error;
    }
  }

  /** Finishes what has begun, acknowledges and ends the run, as far as that is still ours to do. */
  async function leave(outcome: MessageInitShape<typeof OutcomeSchema>, taken: boolean): Promise<void> {
    left = true;
    closeAll();
    await Promise.race([hurry, Promise.all([...inboxes.values()].map((inbox) => inbox.callsEnded()))]);
    for (const inbox of inboxes.values()) await inbox.acknowledge({ taken });
    if (!detached) await finish(outcome);
  }

  const aborted = () => interrupt(options.signal?.reason ?? closed.reason);
  options.signal?.addEventListener("abort", aborted);
  closed.addEventListener("abort", aborted);
  let watching: Promise<void> | undefined;
  try {
    await glimpseUnread();
    watching = watch();
    let result: R;
    try {
      result = await receivingBy(receiver, () => block(run));
    } catch (error) {
      // Another process has the run now, or it is over: neither is ours to acknowledge or to finish.
      if (isLost(interruption.signal)) throw error;
      const stopped = interruption.signal.aborted && (error === interruption.signal.reason || isAbort(error));
      // The block's own error matters more than one of leaving.
      await leave(stopped ? { outcome: { case: "cancelled", value: {} } } : failureOf(error), false).catch(() => {});
      throw error;
    }
    if (isLost(interruption.signal)) throw interruption.signal.reason;
    await leave({ outcome: { case: "result", value: encodePayload(result ?? null) } }, true);
    return result;
  } finally {
    left = true;
    options.signal?.removeEventListener("abort", aborted);
    closed.removeEventListener("abort", aborted);
    ended.abort();
    closeAll();
    await watching;
  }
}

/** Without its payload where none was given, so that the call finds an existing run, whatever its payload is. */
function unlessUnset(payload: unknown, spec: ReturnType<typeof runSpec>): ReturnType<typeof runSpec> {
  if (payload === undefined) delete spec.payload;
  return spec;
}

function isLost(interrupted: AbortSignal): boolean {
  const error: unknown = interrupted.aborted ? interrupted.reason : undefined;
  return error instanceof MidstreamError && error.reason !== "";
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

function cancelled(runId: string): MidstreamError {
  return new MidstreamError(`run ${runId} was cancelled`, { code: "CANCELLED", metadata: { run_id: runId } });
}

function finished({ id, state }: Run): MidstreamError {
  const metadata = { run_id: id, state };
  return new MidstreamError(`run ${id} has ended (${state})`, {
    reason: "RUN_FINISHED",
    code: "FAILED_PRECONDITION",
    metadata,
  });
}

function failureOf(error: unknown): MessageInitShape<typeof OutcomeSchema> {
  const { errorType, message, stack } = describe(error);
  const value = {
    errorType: errorType.slice(0, MAX_TYPE),
    message: message.slice(0, MAX_MESSAGE),
    stack: stack.slice(0, MAX_STACK),
  };
  return { outcome: { case: "failure", value } };
}
