import type { FromThread, ToThread } from "./messages.js";

export interface Listener {
  /** Everything that it says but `ready`. */
  readonly said: (message: FromThread) => void;
  /** It ended by itself. */
  readonly died: (how: string) => void;
}

/** What executes one run, wherever that is. */
export interface Executor {
  /** The run is its own from now on. */
  begin(listener: Listener): void;
  deliver(message: ToThread): void;
  /** At once, wherever it stands: nothing more is heard of it. */
  kill(): Promise<unknown>;
}
