/** Bugs that the fuzz must find, one at a time. Each leaves out one rule of DESIGN. */

import { create } from "@bufbuild/protobuf";
import { type Checkpoint, ConsumedSchema, type Entry } from "../../src/gen/midstream/v1/entry_pb.js";
import { Execution } from "../../src/worker/engine/execution.js";
import { toTimestamp } from "../../src/worker/engine/times.js";
import type { AnyTask } from "../../src/worker/task.js";
import type { World } from "./world.js";

/** What the host knows when it has an entry applied. */
export interface Circumstances {
  /** Nobody has applied this entry before. */
  readonly live: boolean;
  /** The next entry is there already. */
  readonly more: boolean;
  /** The host's own clock, in microseconds. */
  readonly nowUs: number;
}

/** An execution that is told of circumstances that should make no difference. */
export class Observed extends Execution {
  circumstances: Circumstances = { live: false, more: false, nowUs: 0 };

  constructor(
    task: AnyTask,
    options: { runId: string; generation: number },
    protected readonly world: World,
  ) {
    super(task, options);
  }
}

/** What a bug reaches into. */
interface Inside {
  settled: unknown;
  begunOffset: number | undefined;
  applyFact(entry: Entry): void;
}

/** Of two entries that are there already, the second is applied before the first one's turn is dry. */
class TwoInOneDrain extends Observed {
  override async apply(entry: Entry): Promise<void> {
    const inside = this as unknown as Inside;
    const begun = inside.begunOffset !== undefined && inside.settled === undefined && !this.ended;
    if (this.circumstances.live && this.circumstances.more && begun && entry.fact.case === "record") {
      this.appliedOffset = Number(entry.offset);
      inside.applyFact(entry);
      return;
    }
    await super.apply(entry);
  }
}

/** Live code sees the worker's own time, not the entry's. */
class LocalClock extends Observed {
  override async apply(entry: Entry): Promise<void> {
    const { live, nowUs } = this.circumstances;
    await super.apply(live ? { ...entry, appendTime: toTimestamp(nowUs + 7) } : entry);
  }
}

/** A record counts as consumed as soon as it has arrived. */
class ConsumesAtPush extends Observed {
  override checkpoint(): Checkpoint {
    const checkpoint = super.checkpoint();
    checkpoint.consumed = [...this.receiver.all].map(({ streamId, buffer }) =>
      create(ConsumedSchema, { streamId, cursor: BigInt(buffer.receivedSeq) }),
    );
    return checkpoint;
  }
}

/** A record that was dropped stays where it is. */
class DropsNothing extends Observed {
  override async apply(entry: Entry): Promise<void> {
    this.receiver.drop = () => undefined;
    await super.apply(entry);
  }
}

/** What waits for a busy handler is not dropped. */
class BusyHandlersKeepDropped extends Observed {
  override async apply(entry: Entry): Promise<void> {
    this.receiver.drop = ({ streamId, firstSeq, lastSeq }) => {
      const { buffer } = this.receiver.inbox(streamId);
      const inside = buffer as unknown as { handlers: Set<unknown> };
      const { handlers } = inside;
      inside.handlers = new Set();
      buffer.drop(Number(firstSeq), Number(lastSeq));
      inside.handlers = handlers;
    };
    await super.apply(entry);
  }
}

/** A restart tells each stream's cursor, and not what was consumed beyond it. */
class ForgetsBeyond extends Observed {
  override checkpointForRestart(): Checkpoint {
    const checkpoint = super.checkpointForRestart();
    for (const consumed of checkpoint.consumed) consumed.beyond = [];
    return checkpoint;
  }
}

/** Live code gets what the step returned, not what is left of it after its serial form. */
class RawValues extends Observed {
  override async apply(entry: Entry): Promise<void> {
    const { fact } = entry;
    if (this.circumstances.live && fact.case === "stepEnded" && fact.value.result.case === "value") {
      const step = this.steps.find(Number(fact.value.operation));
      const issued = this.steps as unknown as { issued: Map<number, { resolve: (value: unknown) => void }> };
      const pending = step && issued.issued.get(step.operation);
      if (step !== undefined && pending !== undefined && this.world.raw.has(step.key)) {
        const { resolve } = pending;
        pending.resolve = () => resolve(this.world.raw.get(step.key));
      }
    }
    await super.apply(entry);
  }
}

export const EXECUTIONS: Readonly<Record<string, typeof Observed>> = {
  "": Observed,
  "two entries in one drain": TwoInOneDrain,
  "a local clock": LocalClock,
  "consumption at push": ConsumesAtPush,
  "raw values": RawValues,
  "a drop ignored": DropsNothing,
  "a drop that busy handlers ignore": BusyHandlersKeepDropped,
  "nothing known beyond the cursor": ForgetsBeyond,
};
