import { AsyncLocalStorage } from "node:async_hooks";
import { receivingFrom } from "../input-stream.js";
import { findReceiversBy, type Receiver } from "../receiving/receiver.js";
import { codecOf, type Receiving, type StreamOrId, streamId } from "../streams.js";
import type { AttachedInbox } from "./inbox.js";

/** One input stream of an attached run: what the stream itself offers within the block, wherever it is used. */
export interface Inbox<T> extends Receiving<T> {
  /** Acknowledges now, on disk, what `once`, `for await` and `drain` took; else the next of these calls does. */
  ack(): Promise<void>;
}

const current = new AsyncLocalStorage<Receiver>();
findReceiversBy(() => current.getStore());

/** Runs a block whose input streams receive from this run. */
export function receivingBy<R>(receiver: Receiver, block: () => R): R {
  return current.run(receiver, block);
}

/** An attached run as its input streams see it. */
export function attachedReceiver(inboxOf: (streamId: string) => AttachedInbox): Receiver {
  return {
    on: (streamId, handle, name) => inboxOf(streamId).on(handle, name),
    once: ([streamId = ""], options) => inboxOf(streamId).once(options),
    drain: (streamId) => inboxOf(streamId).drain(),
    giveBack(records) {
      const [first] = records;
      if (first) inboxOf(first.streamId).giveBack(records);
    },
    newest: (streamId) => inboxOf(streamId).newest(),
    async wait(streamIds) {
      const what = streamIds.map((id) => JSON.stringify(id)).join(", ");
      throw new Error(
        `an attached run cannot wait on ${what}: nothing could restart this process; use once(), or make it a task that a worker executes`,
      );
    },
  };
}

/** A stream of this run, also for code outside the block's own. */
export function inboxFrom(stream: StreamOrId, receiver: Receiver, inbox: () => AttachedInbox): Inbox<unknown> {
  const receiving = receivingFrom(streamId(stream), { run: () => receiver, codec: codecOf(stream) });
  return { ...receiving, ack: () => inbox().ack() };
}
