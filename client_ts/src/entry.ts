import { type Assignment as AssignmentMessage, Assignment_End } from "./gen/midstream/v1/assignment_pb.js";
import type { Entry as EntryMessage } from "./gen/midstream/v1/entry_pb.js";
import { Run_State } from "./gen/midstream/v1/run_pb.js";
import { type StreamRecord, toDate, toNumber, toRecord } from "./models.js";
import { decodePayload } from "./payload.js";
import type { Failure, RunState } from "./run.js";

/** What an entry says happened. */
export type Fact =
  | { readonly kind: "created"; readonly payload: unknown; readonly metadata: Readonly<Record<string, string>> }
  | { readonly kind: "started" }
  | { readonly kind: "record"; readonly record: StreamRecord }
  | { readonly kind: "stepBegan"; readonly operation: number; readonly name: string; readonly epoch: number }
  | {
      readonly kind: "stepEnded";
      readonly operation: number;
      readonly name: string;
      readonly attempt: number;
      /** What it returned; unset where it threw. */
      readonly value?: unknown;
      readonly failure?: Failure;
    }
  | { readonly kind: "timerFired"; readonly operation: number; readonly dueTime: Date }
  | { readonly kind: "cancelRequested"; readonly deadlinePassed: boolean }
  | { readonly kind: "restarted"; readonly generation: number; readonly payload: unknown }
  /** The oldest unread records of a stream made room for the next one; where a task had taken some, it keeps them. */
  | {
      readonly kind: "recordsDropped";
      readonly streamId: string;
      readonly firstSeq: number;
      readonly lastSeq: number;
    }
  | { readonly kind: "ended"; readonly state: RunState }
  /** A newer server knows more kinds. */
  | { readonly kind: "unknown" };

/** One fact in a run's log. */
export interface Entry {
  /** Its place in the log, from 1, without gaps. */
  readonly offset: number;
  readonly appendTime: Date;
  readonly fact: Fact;
}

/** The time in which one worker had a run. */
export interface Assignment {
  readonly epoch: number;
  readonly workerId: string;
  readonly codeVersion: string;
  readonly assignTime: Date;
  /** Unset while it has it. */
  readonly endTime?: Date;
  readonly end?: Exclude<keyof typeof Assignment_End, "UNSPECIFIED">;
}

export function toEntry(entry: EntryMessage): Entry {
  return { offset: toNumber(entry.offset), appendTime: toDate(entry.appendTime), fact: toFact(entry.fact) };
}

export function toAssignment(assignment: AssignmentMessage): Assignment {
  return {
    epoch: toNumber(assignment.epoch),
    workerId: assignment.workerId,
    codeVersion: assignment.codeVersion,
    assignTime: toDate(assignment.assignTime),
    ...(assignment.endTime && { endTime: toDate(assignment.endTime) }),
    ...(assignment.end && { end: Assignment_End[assignment.end] as NonNullable<Assignment["end"]> }),
  };
}

function toFact(fact: EntryMessage["fact"]): Fact {
  switch (fact.case) {
    case "created":
      return {
        kind: "created",
        payload: decodePayload(fact.value.spec?.payload),
        metadata: fact.value.spec?.metadata ?? {},
      };
    case "started":
      return { kind: "started" };
    case "record":
      return { kind: "record", record: toRecord(fact.value) };
    case "stepBegan":
      return {
        kind: "stepBegan",
        operation: toNumber(fact.value.operation),
        name: fact.value.name,
        epoch: toNumber(fact.value.epoch),
      };
    case "stepEnded": {
      const { operation, name, attempt, result } = fact.value;
      const ended = { kind: "stepEnded", operation: toNumber(operation), name, attempt } as const;
      if (result.case === "failure") {
        const { errorType, message, stack } = result.value;
        return { ...ended, failure: { errorType, message, stack } };
      }
      return { ...ended, value: decodePayload(result.value) };
    }
    case "timerFired":
      return { kind: "timerFired", operation: toNumber(fact.value.operation), dueTime: toDate(fact.value.dueTime) };
    case "cancelRequested":
      return { kind: "cancelRequested", deadlinePassed: fact.value.deadlinePassed };
    case "restarted":
      return {
        kind: "restarted",
        generation: toNumber(fact.value.generation),
        payload: decodePayload(fact.value.payload),
      };
    case "recordsDropped": {
      const { streamId, firstSeq, lastSeq } = fact.value;
      return { kind: "recordsDropped", streamId, firstSeq: toNumber(firstSeq), lastSeq: toNumber(lastSeq) };
    }
    case "ended":
      return { kind: "ended", state: Run_State[fact.value.state] as RunState };
    default:
      return { kind: "unknown" };
  }
}
