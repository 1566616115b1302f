/** What is outside a run, and what one life of it saw. */

import type { WorkRequest_OutputRecord } from "../../src/gen/midstream/v1/worker_service_pb.js";
import type { Execution } from "../../src/worker/engine/execution.js";

/** One trial: shared by all lives of its run. */
export class World {
  /** How often each step began, by its key. */
  readonly ran = new Map<string, number>();
  private readonly executions = new Map<string, number>();
  /** What each step's code returned, before its serial form. */
  readonly raw = new Map<string, unknown>();
  life: Life | undefined;

  began(key: string): void {
    this.ran.set(key, (this.ran.get(key) ?? 0) + 1);
  }

  newExecution(key: string): number {
    const execution = (this.executions.get(key) ?? 0) + 1;
    this.executions.set(key, execution);
    return execution;
  }
}

/** The task's memory in one process. */
export class Life {
  /** What it saw since it was last asked, each with its offset. */
  seen: [offset: number, what: unknown[]][] = [];
  outputs: WorkRequest_OutputRecord[] = [];
  over = false;

  constructor(readonly execution: Execution) {}

  see(...what: unknown[]): void {
    if (!this.over) this.seen.push([this.execution.appliedOffset, what]);
  }
}
