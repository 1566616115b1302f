/** The entries that a host asks the server to append. */

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Entry, EntrySchema } from "../../gen/midstream/v1/entry_pb.js";
import type { Payload } from "../../gen/midstream/v1/record_pb.js";
import type { Failure } from "../../gen/midstream/v1/run_pb.js";
import type { PendingStep } from "./pending-step.js";
import { toTimestamp } from "./times.js";

/** The error type of an at-most-once step that nobody knows the end of. */
export const INTERRUPTED = "StepInterrupted";

export function timerFired(operation: number, dueUs: number): Entry {
  const value = { operation: BigInt(operation), dueTime: toTimestamp(dueUs) };
  return create(EntrySchema, { fact: { case: "timerFired", value } });
}

export function stepBegan(step: PendingStep, epoch: bigint): Entry {
  const value = { operation: BigInt(step.operation), name: step.name, epoch };
  return create(EntrySchema, { fact: { case: "stepBegan", value } });
}

export type StepResult = { case: "value"; value: Payload } | { case: "failure"; value: Failure };

export function stepEnded(step: PendingStep, result: StepResult, tookMs?: number): Entry {
  const value = {
    operation: BigInt(step.operation),
    name: step.name,
    attempt: step.attempt,
    result,
    ...(tookMs === undefined ? {} : { duration: durationFromMs(Math.round(tookMs)) }),
  };
  return create(EntrySchema, { fact: { case: "stepEnded", value } });
}

export function interrupted(): Pick<Failure, "errorType" | "message" | "stack"> {
  return { errorType: INTERRUPTED, message: "its process was lost while it ran; it is not repeated", stack: "" };
}
