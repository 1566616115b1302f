import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport, type HandlerContext, type Transport } from "@connectrpc/connect";
import { type Client, type ConnectOptions, connect } from "../client.js";
import type { Reason, StatusCode } from "../error.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "../gen/google/rpc/status_pb.js";
import { Direction, Sender_Kind } from "../gen/midstream/v1/record_pb.js";
import { Run_State } from "../gen/midstream/v1/run_pb.js";
import { RunService } from "../gen/midstream/v1/run_service_pb.js";
import {
  type FollowRequest_Target,
  type FollowResponseSchema,
  type SendOneRequest,
  StreamService,
} from "../gen/midstream/v1/stream_service_pb.js";
import { decodePayload, encodeAs, encodePayload as encoded } from "../payload.js";
import type { RunState } from "../run.js";
import { codecOf, type StreamOrId, streamId } from "../streams.js";
import { FakeStore, isFinal } from "./fake-store.js";

/** How a call is to fail. */
export interface FakeError {
  code: StatusCode;
  reason?: Reason;
  message?: string;
  metadata?: Record<string, string>;
  retryAfterMs?: number;
}

/** A server in memory, without network and without disk, for tests of what uses a client. It knows no other rules than these. */
export interface FakeServer {
  /** For `connect({ transport })`. */
  readonly transport: Transport;
  /** A client of it. */
  connect(options?: Omit<ConnectOptions, "url" | "transport">): Client;
  /** Makes a run that exists and runs. */
  addRun(runId: string, run?: { task?: string; payload?: unknown }): void;
  setState(runId: string, state: RunState, result?: unknown): void;
  /** What a sender and a task would append. */
  appendInput(runId: string, stream: StreamOrId, value: unknown): void;
  appendOutput(runId: string, stream: StreamOrId, value: unknown): void;
  /** What a repeated step appends: these seqs do not count any more. */
  rewindOutput(runId: string, stream: StreamOrId, firstSeq: number, lastSeq: number): void;
  /** The values on an input stream, in order. */
  sent(runId: string, stream: StreamOrId): unknown[];
  /** How many subscriptions are open, and how many were opened until now. */
  readonly openSubscriptions: number;
  readonly subscriptionCount: number;
  /** The `authorization` of each call until now, newest last; undefined: none. */
  readonly authorizations: readonly (string | undefined)[];
  /** Breaks every open subscription, as when the network goes. */
  drop(): void;
  /** Every call fails so until `recover`, and open subscriptions do. */
  fail(error: FakeError): void;
  /** Judges a subscription's target: what it returns refuses it. */
  judge: (target: { runId: string; streamId: string; accessToken: string }) => FakeError | undefined;
  recover(): void;
}

const CODES: Partial<Record<StatusCode, Code>> = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  PERMISSION_DENIED: Code.PermissionDenied,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  UNAUTHENTICATED: Code.Unauthenticated,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
};

/** Starts with no runs. */
export function fakeServer(): FakeServer {
  const store = new FakeStore();
  const authorizations: (string | undefined)[] = [];
  let failing: FakeError | undefined;
  let broken = new AbortController();
  let openSubscriptions = 0;
  let subscriptionCount = 0;

  function enter(context: HandlerContext): void {
    authorizations.push(context.requestHeader.get("authorization") ?? undefined);
    if (failing) throw connectError(failing);
  }

  function found(runId: string) {
    const run = store.runs.get(runId);
    if (!run) {
      throw connectError({
        code: "NOT_FOUND",
        reason: "RUN_NOT_FOUND",
        message: `no run '${runId}'`,
        metadata: { run_id: runId },
      });
    }
    return run;
  }

  async function* followTarget(
    target: FollowRequest_Target,
    signal: AbortSignal,
  ): AsyncGenerator<MessageInitShape<typeof FollowResponseSchema>> {
    const { ref, runId, accessToken } = target;
    const what = target.what;
    const stream = what.case === "records" ? what.value.streamId : "";
    const refused = server.judge({ runId, streamId: stream, accessToken });
    const run = store.runs.get(runId);
    if (refused || !run) {
      const error = refused ?? { code: "NOT_FOUND", reason: "RUN_NOT_FOUND", message: `no run '${runId}'` };
      yield { ref, what: { case: "error", value: status(error) } };
      return;
    }
    let position = what.case === "records" ? what.value.afterOffset : 0n;
    let seen = "";
    while (!signal.aborted) {
      const final = isFinal(run.run);
      if (what.case === "records") {
        const all = what.value.direction === Direction.OUTPUT ? run.output : run.input;
        const records = all.filter((each) => each.offset > position && (stream === "" || each.streamId === stream));
        position = all.at(-1)?.offset ?? position;
        if (records.length > 0) yield { ref, what: { case: "records", value: { records, asOfOffset: position } } };
      } else {
        const now = `${run.run.state} ${run.run.lastOffset}`;
        if (now !== seen) yield { ref, what: { case: "run", value: { ...run.run } } };
        seen = now;
      }
      if (final) {
        yield { ref, what: { case: "ended", value: {} } };
        return;
      }
      await store.nextChange(signal);
    }
  }

  const transport = createRouterTransport(({ service }) => {
    service(StreamService, {
      sendOne(request, context) {
        enter(context);
        return { receipts: request.records.map((record) => receive(request, record)) };
      },
      async *follow(request, context) {
        enter(context);
        const ends = new AbortController();
        const end = () => {
          if (!ends.signal.aborted) openSubscriptions -= 1;
          ends.abort();
        };
        context.signal.addEventListener("abort", end);
        broken.signal.addEventListener("abort", end);
        openSubscriptions += 1;
        subscriptionCount += 1;
        try {
          yield { ref: 0n, what: { case: "heartbeat", value: {} } };
          yield* merge(request.targets.map((target) => followTarget(target, ends.signal)));
          if (ends.signal.aborted)
            throw connectError(failing ?? { code: "UNAVAILABLE", message: "the connection broke" });
        } finally {
          end();
        }
      },
    });
    service(RunService, {
      getRun(request, context) {
        enter(context);
        return { run: found(request.runId).run };
      },
      cancelRun(request, context) {
        enter(context);
        const { run } = found(request.runId);
        if (!isFinal(run)) run.state = Run_State.CANCELLED;
        store.changed();
        return { run };
      },
    });
  });

  function receive(request: SendOneRequest, record: SendOneRequest["records"][number]) {
    const { run, input } = found(request.runId);
    const earlier = input.find(
      (each) => each.streamId === request.streamId && each.idempotencyKey === record.idempotencyKey,
    );
    if (!earlier && isFinal(run)) {
      const metadata = { run_id: run.runId, state: Run_State[run.state] };
      throw connectError({
        code: "FAILED_PRECONDITION",
        reason: "RUN_FINISHED",
        message: `run '${run.runId}' has ended`,
        metadata,
      });
    }
    const { clientRef, ...fields } = record;
    const sender = authorizations.at(-1) === undefined ? Sender_Kind.ANONYMOUS : Sender_Kind.ACCESS_TOKEN;
    const stored =
      earlier ??
      store.append(
        request.runId,
        request.streamId,
        Direction.INPUT,
        {
          ...(fields.payload && { payload: fields.payload }),
          idempotencyKey: fields.idempotencyKey,
          metadata: fields.metadata,
        },
        sender,
      );
    const { seq, offset, acceptTime } = stored;
    const value = { seq, offset, ...(acceptTime && { acceptTime }), deduplicated: earlier !== undefined };
    return { clientRef, result: { case: "accepted" as const, value } };
  }

  const server: FakeServer = {
    transport,
    connect: (options) => connect({ ...options, transport }),
    addRun(runId, { task = "task", payload } = {}) {
      store.add({ runId, task, ...(payload !== undefined && { payload: encoded(payload) }) });
    },
    setState(runId, state, result) {
      const { run } = found(runId);
      run.state = Run_State[state];
      run.lastOffset += 1n;
      if (result !== undefined) run.result = encoded(result);
      store.changed();
    },
    appendInput(runId, stream, value) {
      store.append(runId, streamId(stream), Direction.INPUT, { payload: encodeAs(codecOf(stream), value) });
    },
    appendOutput: (runId, stream, value) => void store.appendValue(runId, streamId(stream), Direction.OUTPUT, value),
    rewindOutput(runId, stream, firstSeq, lastSeq) {
      const ranges = [{ firstSeq: BigInt(firstSeq), lastSeq: BigInt(lastSeq) }];
      store.append(runId, streamId(stream), Direction.OUTPUT, { rewound: { ranges } });
    },
    sent: (runId, stream) =>
      found(runId)
        .input.filter((record) => record.streamId === streamId(stream))
        .map((record) => decodePayload(record.payload)),
    get openSubscriptions() {
      return openSubscriptions;
    },
    get subscriptionCount() {
      return subscriptionCount;
    },
    authorizations,
    drop() {
      broken.abort();
      broken = new AbortController();
    },
    fail(error) {
      failing = error;
      server.drop();
    },
    judge: () => undefined,
    recover() {
      failing = undefined;
    },
  };
  return server;
}

/** What several generators yield, as it comes. */
async function* merge<T>(sources: readonly AsyncGenerator<T>[]): AsyncGenerator<T> {
  const next = (source: AsyncGenerator<T>) => source.next().then((result) => ({ source, result }));
  const pending = new Map(sources.map((source) => [source, next(source)]));
  while (pending.size > 0) {
    const { source, result } = await Promise.race(pending.values());
    if (result.done) {
      pending.delete(source);
    } else {
      pending.set(source, next(source));
      yield result.value;
    }
  }
}

function connectError(error: FakeError): ConnectError {
  const code = CODES[error.code] ?? Code.Unavailable;
  const info = error.reason && {
    desc: ErrorInfoSchema,
    value: { reason: error.reason, domain: "midstream.v1", metadata: error.metadata ?? {} },
  };
  const retry = error.retryAfterMs !== undefined && {
    desc: RetryInfoSchema,
    value: { retryDelay: { seconds: 0n, nanos: error.retryAfterMs * 1e6 } },
  };
  const details = [...(info ? [info] : []), ...(retry ? [retry] : [])];
  return new ConnectError(error.message ?? "refused by the test", code, undefined, details);
}

function status(error: FakeError): Status {
  const info = create(ErrorInfoSchema, {
    reason: error.reason ?? "",
    domain: "midstream.v1",
    metadata: error.metadata ?? {},
  });
  const details = error.reason ? [anyPack(ErrorInfoSchema, info)] : [];
  const message = error.message ?? "refused by the test";
  return create(StatusSchema, { code: CODES[error.code] ?? Code.Unavailable, message, details });
}
