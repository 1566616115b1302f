/** Whether what is followed arrives. `idle`: nothing is followed. `retrying`: the connection broke, another is tried. */
export type ConnectionState = "idle" | "connecting" | "open" | "retrying";

/** The state of a client's subscription, to show in a page. */
export interface Connection {
  readonly state: ConnectionState;
  /** Calls `listener` whenever the state has changed. Returns what ends that. */
  subscribe(listener: () => void): () => void;
}

export function createConnection(): { connection: Connection; set: (state: ConnectionState) => void } {
  let state: ConnectionState = "idle";
  const listeners = new Set<() => void>();
  return {
    connection: {
      get state() {
        return state;
      },
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    set(next) {
      if (next === state) return;
      state = next;
      for (const listener of [...listeners]) listener();
    },
  };
}
