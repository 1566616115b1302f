/** What a task asks of the server, recorded as steps: their keys make repeating them harmless. */

import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Duration, parseDuration } from "../../duration.js";
import { NewRecordSchema } from "../../gen/midstream/v1/record_pb.js";
import { RunSpecSchema } from "../../gen/midstream/v1/run_pb.js";
import { FirstRecordSchema, StartRunRequestSchema } from "../../gen/midstream/v1/run_service_pb.js";
import { SendOneRequestSchema } from "../../gen/midstream/v1/stream_service_pb.js";
import { encodeAs, encodePayload } from "../../payload.js";
import { codecOf, type StreamOrId, streamId } from "../../streams.js";
import type { Execution } from "./execution.js";

export interface SendOptions {
  /** Unset: one of the operation's own, so that the record is stored once. */
  readonly key?: string;
  readonly metadata?: Record<string, string>;
}

export interface StartOptions {
  /** Unset: the operation chooses, the same on every replay. */
  readonly runId?: string;
  readonly records?: Iterable<readonly [stream: StreamOrId, value: unknown]>;
  readonly maxDuration?: Duration;
  readonly metadata?: Record<string, string>;
}

/** Where the sent record stands. */
export interface SentReceipt {
  readonly seq: number;
  readonly offset: number;
  readonly deduplicated: boolean;
  /** How many unread records made room for it, on a stream that keeps only the newest. */
  readonly dropped: number;
}

export interface StartedRun {
  readonly id: string;
  readonly task: string;
}

const MAX_KEY_BYTES = 128;
const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

export class RunCalls {
  constructor(private readonly execution: Execution) {}

  async send(runId: string, stream: StreamOrId, value: unknown, options: SendOptions): Promise<SentReceipt> {
    const { steps } = this.execution;
    const id = streamId(stream);
    const record = create(NewRecordSchema, {
      payload: encodeAs(codecOf(stream), value),
      idempotencyKey: options.key ?? short(steps.nextKey("send")),
      metadata: options.metadata ?? {},
    });
    const request = create(SendOneRequestSchema, { runId, streamId: id, records: [record] });
    return (await steps.run("send", id, { call: { kind: "send", request } })) as SentReceipt;
  }

  async startRun(task: string, payload: unknown, options: StartOptions): Promise<StartedRun> {
    const { steps, nowUs } = this.execution;
    const runId = options.runId ?? `run_${ulidOf(Math.floor(nowUs / 1_000), steps.nextKey("start_run"))}`;
    const { maxDuration, metadata = {} } = options;
    const spec = create(RunSpecSchema, {
      task,
      metadata,
      ...(payload === undefined ? {} : { payload: encodePayload(payload) }),
      ...(maxDuration === undefined ? {} : { maxDuration: durationFromMs(parseDuration(maxDuration)) }),
    });
    const records = [...(options.records ?? [])].map(([stream, value]) =>
      create(FirstRecordSchema, {
        streamId: streamId(stream),
        record: create(NewRecordSchema, { payload: encodeAs(codecOf(stream), value) }),
      }),
    );
    const request = create(StartRunRequestSchema, { runId, spec, records });
    return (await steps.run("start_run", task, { call: { kind: "start_run", request } })) as StartedRun;
  }
}

/** The server takes keys of at most 128 bytes. */
function short(key: string): string {
  return Buffer.byteLength(key) <= MAX_KEY_BYTES ? key : createHash("sha256").update(key).digest("hex");
}

/** The same for the same operation of the same run. */
function ulidOf(ms: number, key: string): string {
  const random = createHash("sha256").update(key).digest();
  let bits = BigInt(ms);
  for (const byte of random.subarray(0, 10)) bits = (bits << 8n) | BigInt(byte);
  let text = "";
  for (let place = 0; place < 26; place++) {
    text = CROCKFORD.charAt(Number(bits & 31n)) + text;
    bits >>= 5n;
  }
  return text;
}
