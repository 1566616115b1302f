import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Run_Kind, Run_State, type Run as RunMessage } from "./gen/midstream/v1/run_pb.js";
import { toDate, toNumber } from "./models.js";
import { decodePayload } from "./payload.js";

/** Who executes a run: a worker, or some other process that attached itself. */
export type RunKind = "MANAGED" | "ATTACHED" | "UNSPECIFIED";

/** Where a run stands. */
export type RunState = Exclude<keyof typeof Run_State, "UNSPECIFIED"> | "UNSPECIFIED";

/** Why a run failed. */
export interface Failure {
  readonly errorType: string;
  readonly message: string;
  readonly stack: string;
}

/** A handler that threw. Delivery went on. */
export interface HandlerFailure {
  readonly streamId: string;
  readonly seq: number;
  readonly handler: string;
  readonly errorType: string;
  readonly message: string;
  readonly recordTime: Date;
}

/** An input stream of a run. */
export interface StreamStatus {
  readonly streamId: string;
  readonly lastSeq: number;
  /** The last consumed seq. */
  readonly cursor: number;
  /** Records not consumed yet; when the run has ended, the unconsumed ones. */
  readonly unreadCount: number;
  readonly unreadBytes: number;
}

/** An output stream of a run. */
export interface OutputStatus {
  readonly streamId: string;
  readonly lastSeq: number;
}

/** A run as it stood when the server looked. */
export interface Run {
  readonly id: string;
  readonly task: string;
  readonly kind: RunKind;
  readonly state: RunState;
  /** COMPLETED, FAILED, CANCELLED or EXPIRED. */
  readonly isFinal: boolean;
  /** The task's argument; left out in lists. */
  readonly payload?: unknown;
  /** What the task returned; set when COMPLETED. */
  readonly result?: unknown;
  readonly failure?: Failure;
  readonly createTime: Date;
  readonly startTime?: Date;
  readonly finishTime?: Date;
  readonly deadline?: Date;
  readonly cancelTime?: Date;
  readonly deleteTime?: Date;
  /** How many entries its log has. */
  readonly lastOffset: number;
  readonly streams: readonly StreamStatus[];
  readonly outputs: readonly OutputStatus[];
  readonly handlerFailureCount: number;
  /** The newest, at most 20, oldest first. */
  readonly handlerFailures: readonly HandlerFailure[];
  readonly metadata: Readonly<Record<string, string>>;
}

const FINAL: ReadonlySet<RunState> = new Set<RunState>(["COMPLETED", "FAILED", "CANCELLED", "EXPIRED"]);

export function toRun(run: RunMessage): Run {
  const state = (Run_State[run.state] as RunState | undefined) ?? "UNSPECIFIED";
  return {
    id: run.runId,
    task: run.task,
    kind: (Run_Kind[run.kind] as RunKind | undefined) ?? "UNSPECIFIED",
    state,
    isFinal: FINAL.has(state),
    ...(run.payload && { payload: decodePayload(run.payload) }),
    ...(run.result && { result: decodePayload(run.result) }),
    ...(run.failure && {
      failure: { errorType: run.failure.errorType, message: run.failure.message, stack: run.failure.stack },
    }),
    createTime: toDate(run.createTime),
    ...time("startTime", run.startTime),
    ...time("finishTime", run.finishTime),
    ...time("deadline", run.deadline),
    ...time("cancelTime", run.cancelTime),
    ...time("deleteTime", run.deleteTime),
    lastOffset: toNumber(run.lastOffset),
    streams: run.streams.map((stream) => ({
      streamId: stream.streamId,
      lastSeq: toNumber(stream.lastSeq),
      cursor: toNumber(stream.cursor),
      unreadCount: toNumber(stream.unreadCount),
      unreadBytes: toNumber(stream.unreadBytes),
    })),
    outputs: run.outputs.map((output) => ({ streamId: output.streamId, lastSeq: toNumber(output.lastSeq) })),
    handlerFailureCount: toNumber(run.handlerFailureCount),
    handlerFailures: run.handlerFailures.map((failure) => ({
      streamId: failure.streamId,
      seq: toNumber(failure.seq),
      handler: failure.handler,
      errorType: failure.errorType,
      message: failure.message,
      recordTime: toDate(failure.recordTime),
    })),
    metadata: run.metadata,
  };
}

function time<K extends string>(name: K, value: Timestamp | undefined): { [name in K]?: Date } {
  return (value ? { [name]: toDate(value) } : {}) as { [name in K]?: Date };
}
