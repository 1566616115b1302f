/** One input stream of a managed run: drives the pure buffer from the log. */

import { AsyncResource } from "node:async_hooks";
import { HandlerQueue } from "../../receiving/handler-queue.js";
import { StreamBuffer } from "../../receiving/stream-buffer.js";
import type { StreamRecord } from "../../models.js";
import type { ManagedReceiver } from "./receiver.js";

export class ManagedInbox {
  readonly buffer: StreamBuffer<StreamRecord>;
  reportedCursor = 0;

  constructor(
    private readonly receiver: ManagedReceiver,
    readonly streamId: string,
  ) {
    this.buffer = new StreamBuffer({ wake: () => this.receiver.wake(this) });
  }

  /** Every record, in order, one call at a time. A record is consumed in the turn in which a handler's call begins. */
  on(handle: (record: StreamRecord) => unknown, name: string): () => void {
    const { receiver, buffer, streamId } = this;
    receiver.refuseWhenClosed();
    receiver.operations.issue("on", streamId);
    // A handler runs in the scope of the place that attached it.
    const begin = AsyncResource.bind((record: StreamRecord): unknown => {
      buffer.tracker.finish(record.seq);
      return handle(record);
    });
    const queue = new HandlerQueue<StreamRecord>(begin, {
      spawn: (call, ended) => receiver.startCall(call, ended),
      finished: (record, failed, error) => {
        if (failed) receiver.handlerFailed(streamId, record.seq, name, error);
      },
    });
    buffer.attach(queue);
    return () => buffer.detach(queue);
  }
}
