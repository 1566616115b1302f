import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Direction, type Payload, type Record, RecordSchema, Sender_Kind } from "../gen/midstream/v1/record_pb.js";
import { type Run, Run_Kind, Run_State, RunSchema } from "../gen/midstream/v1/run_pb.js";
import { encodePayload } from "../payload.js";

/** What a sender says of a record. */
export interface RecordContent {
  payload?: Payload;
  idempotencyKey?: string;
  metadata?: { [name: string]: string };
  rewound?: { ranges: { firstSeq: bigint; lastSeq: bigint }[] };
}

/** A run in memory. */
export interface FakeRun {
  readonly run: Run;
  readonly input: Record[];
  readonly output: Record[];
}

/** Runs and their records in memory; whoever waits hears of each change. */
export class FakeStore {
  readonly runs = new Map<string, FakeRun>();
  readonly #waiters = new Set<() => void>();

  add(init: MessageInitShape<typeof RunSchema> & { runId: string }): FakeRun {
    const run = create(RunSchema, {
      task: "task",
      kind: Run_Kind.ATTACHED,
      state: Run_State.RUNNING,
      createTime: timestampFromDate(new Date()),
      ...init,
    });
    const added = { run, input: [], output: [] };
    this.runs.set(run.runId, added);
    this.changed();
    return added;
  }

  append(
    runId: string,
    streamId: string,
    direction: Direction,
    content: RecordContent,
    sender = Sender_Kind.ANONYMOUS,
  ): Record {
    const found = this.runs.get(runId);
    if (!found) throw new Error(`no run ${JSON.stringify(runId)} in this fake server: add it first`);
    const records = direction === Direction.OUTPUT ? found.output : found.input;
    const record = create(RecordSchema, {
      runId,
      streamId,
      direction,
      seq: BigInt(records.filter((each) => each.streamId === streamId).length + 1),
      offset: BigInt(records.length + (direction === Direction.OUTPUT ? 1 : 2)),
      sender: { kind: sender },
      acceptTime: timestampFromDate(new Date()),
      ...content,
    });
    records.push(record);
    if (direction === Direction.INPUT) found.run.lastOffset = record.offset;
    this.changed();
    return record;
  }

  appendValue(runId: string, streamId: string, direction: Direction, value: unknown): Record {
    return this.append(runId, streamId, direction, { payload: encodePayload(value) });
  }

  changed(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  /** Resolves at the next change, or when the signal is aborted. */
  nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiters.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiters.add(wake);
      if (signal.aborted) wake();
      else signal.addEventListener("abort", wake);
    });
  }
}

export function isFinal({ state }: Run): boolean {
  return state >= Run_State.COMPLETED;
}
