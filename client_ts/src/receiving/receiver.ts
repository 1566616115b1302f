import type { StreamRecord } from "../models.js";

/** How long a receive waits. */
export interface TakeOptions {
  /** Milliseconds; 0 takes only what is there, undefined waits for ever. */
  readonly timeoutMs?: number | undefined;
  /** Ends the receive with its reason; a record that it would have had stays. */
  readonly signal?: AbortSignal | undefined;
}

/** What input streams ask of the run that they are used in: a task's, or an attached one. */
export interface Receiver {
  /** Every record, in order, first the buffered ones; returns what ends that. `name` is the handler's, for errors. */
  on(streamId: string, handle: (record: StreamRecord) => unknown, name: string): () => void;
  /** The oldest record of these streams that nobody has consumed, or the next to arrive; undefined after the timeout. */
  once(streamIds: readonly string[], options: TakeOptions): Promise<StreamRecord | undefined>;
  /** As `once`, and the process may go meanwhile. */
  wait(streamIds: readonly string[], options: TakeOptions): Promise<StreamRecord | undefined>;
  /** All that is there. */
  drain(streamId: string): Promise<StreamRecord[]>;
  /** Undoes that these were taken: they are the next ones again. In the turn in which they were taken. */
  giveBack(records: readonly StreamRecord[]): void;
  /** The newest unconsumed record. */
  newest(streamId: string): StreamRecord | undefined;
}

type Find = () => Receiver | undefined;

const finders: Find[] = [];

/** Has input streams look here, too, for the run whose code is running. */
export function findReceiversBy(find: Find): void {
  finders.push(find);
}

/** The run whose code is running. Throws where there is none. */
export function currentReceiver(what: string): Receiver {
  for (const find of finders) {
    const found = find();
    if (found !== undefined) return found;
  }
  throw new Error(`${what} is received from in a run: in a task's own code, or within client.attach`);
}
