/** The receiver that input streams find in a task's code. */

import type { StreamRecord } from "../../models.js";
import { findReceiversBy, type Receiver, type TakeOptions } from "../../receiving/receiver.js";
import type { Execution } from "./execution.js";
import { currentExecution } from "./scope.js";

class TaskReceiver implements Receiver {
  constructor(private readonly execution: Execution) {}

  on(streamId: string, handle: (record: StreamRecord) => unknown, name: string): () => void {
    return this.execution.receiver.inbox(streamId).on(handle, name);
  }

  once(streamIds: readonly string[], options: TakeOptions): Promise<StreamRecord | undefined> {
    return this.take("once", streamIds, options);
  }

  wait(streamIds: readonly string[], options: TakeOptions): Promise<StreamRecord | undefined> {
    return this.take(streamIds.length === 1 ? "wait" : "wait_any", streamIds, options);
  }

  drain(streamId: string): Promise<StreamRecord[]> {
    return this.execution.receiver.take("drain", [streamId], { timeoutUs: 0, everything: true });
  }

  giveBack(records: readonly StreamRecord[]): void {
    this.execution.receiver.giveBack(records);
  }

  newest(streamId: string): StreamRecord | undefined {
    return this.execution.receiver.inbox(streamId).buffer.newest();
  }

  private async take(
    kind: "once" | "wait" | "wait_any",
    streamIds: readonly string[],
    { timeoutMs, signal }: TakeOptions,
  ): Promise<StreamRecord | undefined> {
    const timeoutUs = timeoutMs === undefined ? undefined : timeoutMs * 1_000;
    const [record] = await this.execution.receiver.take(kind, streamIds, { timeoutUs, signal });
    return record;
  }
}

const receivers = new WeakMap<Execution, Receiver>();

findReceiversBy(() => {
  const execution = currentExecution();
  if (execution === undefined) return undefined;
  let receiver = receivers.get(execution);
  if (receiver === undefined) {
    receiver = new TaskReceiver(execution);
    receivers.set(execution, receiver);
  }
  return receiver;
});
