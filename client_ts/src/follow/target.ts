import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Credentials } from "../credentials.js";
import type { MidstreamError } from "../error.js";
import { Direction as DirectionEnum } from "../gen/midstream/v1/record_pb.js";
import { type Run as RunMessage, RunSchema } from "../gen/midstream/v1/run_pb.js";
import {
  type FollowRequest_Target,
  FollowRequest_TargetSchema,
  type TailResponse,
} from "../gen/midstream/v1/stream_service_pb.js";
import { type Direction, type PayloadForm, payloadView, type StreamRecord, toNumber, toRecord } from "../models.js";
import { type Run, toRun } from "../run.js";

/** Who hears of a target. */
export interface Listener {
  /** Nothing more will come: the run has ended and everything was delivered. */
  onEnd?: (() => void) | undefined;
  /** Nothing more will come, and trying again does not help. */
  onError?: ((error: MidstreamError) => void) | undefined;
}

/** Which records to follow, and who hears of them. */
export interface RecordsListener extends Listener {
  /** New records in offset order. Everything up to `asOfOffset` has come: go on from there another time. */
  onRecords: (records: StreamRecord[], asOfOffset: number) => void;
}

/** Who hears of a run. */
export interface RunListener extends Listener {
  /** The run as it stands, and again whenever it has changed. */
  onRun: (run: Run) => void;
}

/** One thing that is followed, and how far it has come. */
export interface Target {
  readonly credentials: Credentials;
  readonly listener: Listener;
  /** How to ask for what is still to come. */
  request(ref: bigint, accessToken: string | undefined): FollowRequest_Target;
  /** News from the server. What was told before is not told again. */
  takeRecords(response: TailResponse): void;
  takeRun(run: RunMessage): void;
}

export function recordsTarget(
  what: { runId: string; streamId: string; direction: Direction; afterOffset: number; view: PayloadForm | undefined },
  listener: RecordsListener,
  credentials: Credentials,
): Target {
  let position = BigInt(what.afterOffset);
  const direction = what.direction === "output" ? DirectionEnum.OUTPUT : DirectionEnum.INPUT;
  return {
    credentials,
    listener,
    request: (ref, accessToken) =>
      target(ref, what.runId, accessToken, {
        case: "records",
        value: { streamId: what.streamId, direction, afterOffset: position, payloadView: payloadView(what.view) },
      }),
    takeRecords({ records, asOfOffset }) {
      const before = position;
      const fresh = records.filter((record) => record.offset > before);
      if (asOfOffset > position) position = asOfOffset;
      const last = fresh.at(-1);
      if (last && last.offset > position) position = last.offset;
      if (position > before) listener.onRecords(fresh.map(toRecord), toNumber(position));
    },
    takeRun() {},
  };
}

export function runTarget(runId: string, listener: RunListener, credentials: Credentials): Target {
  let last = "";
  return {
    credentials,
    listener,
    request: (ref, accessToken) => target(ref, runId, accessToken, { case: "state", value: {} }),
    takeRecords() {},
    takeRun(run) {
      const now = toBinary(RunSchema, run).join();
      if (now === last) return; // the first word after a reconnect may be an old one
      last = now;
      listener.onRun(toRun(run));
    },
  };
}

function target(
  ref: bigint,
  runId: string,
  accessToken: string | undefined,
  what: NonNullable<MessageInitShape<typeof FollowRequest_TargetSchema>["what"]>,
): FollowRequest_Target {
  return create(FollowRequest_TargetSchema, { ref, runId, accessToken: accessToken ?? "", what });
}
