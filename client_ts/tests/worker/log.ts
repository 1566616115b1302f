import { create } from "@bufbuild/protobuf";
import { type Entry, EntrySchema } from "../../src/gen/midstream/v1/entry_pb.js";
import { encodeResult } from "../../src/worker/engine/payloads.js";
import { Execution } from "../../src/worker/engine/execution.js";
import { toTimestamp } from "../../src/worker/engine/times.js";
import type { AnyTask, Task } from "../../src/worker/task.js";

const BEGIN_US = 1_767_225_600_000_000;

/** A run's log as a server would write it, and executions of it. */
export class Log {
  readonly entries: Entry[] = [];
  private readonly seqs = new Map<string, number>();
  /** Seconds since the run began. */
  now = 0;

  constructor(readonly task: AnyTask) {}

  static of<P, R>(task: Task<P, R>): Log {
    return new Log(task as unknown as AnyTask);
  }

  append(fact: Entry["fact"], seconds = 0): Entry {
    this.now += seconds;
    const entry = create(EntrySchema, {
      offset: BigInt(this.entries.length + 1),
      appendTime: toTimestamp(BEGIN_US + Math.round(this.now * 1e6)),
    });
    entry.fact = fact;
    this.entries.push(entry);
    return entry;
  }

  begin(payload: unknown = null): void {
    const made = create(EntrySchema, {
      fact: { case: "created", value: { spec: { task: this.task.id, payload: encodeResult(payload) } } },
    });
    this.append(made.fact);
    const started = create(EntrySchema, { fact: { case: "started", value: { seed: new Uint8Array([7]) } } });
    this.append(started.fact);
  }

  record(streamId: string, value: unknown, seconds = 0): Entry {
    const seq = (this.seqs.get(streamId) ?? 0) + 1;
    this.seqs.set(streamId, seq);
    const offset = BigInt(this.entries.length + 1);
    const made = create(EntrySchema, {
      fact: {
        case: "record",
        value: { runId: "run", streamId, seq: BigInt(seq), offset, payload: encodeResult(value) },
      },
    });
    return this.append(made.fact, seconds);
  }

  stepReturned(operation: number, value: unknown, attempt = 1): Entry {
    const made = create(EntrySchema, {
      fact: {
        case: "stepEnded",
        value: { operation: BigInt(operation), attempt, result: { case: "value", value: encodeResult(value) } },
      },
    });
    return this.append(made.fact);
  }

  stepFailed(operation: number, errorType: string, message: string, attempt = 1): Entry {
    const made = create(EntrySchema, {
      fact: {
        case: "stepEnded",
        value: {
          operation: BigInt(operation),
          attempt,
          result: { case: "failure", value: { errorType, message } },
        },
      },
    });
    return this.append(made.fact);
  }

  timerFired(operation: number, seconds: number): Entry {
    const made = create(EntrySchema, { fact: { case: "timerFired", value: { operation: BigInt(operation) } } });
    return this.append(made.fact, seconds);
  }

  cancel(): Entry {
    return this.append(create(EntrySchema, { fact: { case: "cancelRequested", value: {} } }).fact);
  }

  /** A new process that has applied the whole log. */
  async replayed(): Promise<Execution> {
    const execution = new Execution(this.task, { runId: "run" });
    for (const entry of this.entries) await execution.apply(entry);
    return execution;
  }
}

/** What a finished run came to: its result, or its failure's type and message. */
export function outcomeOf({ outcome }: Execution): unknown {
  const how = outcome?.outcome;
  switch (how?.case) {
    case "result":
      return how.value.content.case === "json" ? JSON.parse(how.value.content.value) : how.value.content.value;
    case "failure":
      return `${how.value.errorType}: ${how.value.message}`;
    default:
      return how?.case;
  }
}
