/** A value that changes, in the shape that `useSyncExternalStore` wants. */
export interface Store<State> {
  readonly get: () => State;
  readonly set: (next: State) => void;
  readonly subscribe: (listener: () => void) => () => void;
}

/**
 * Makes a store. `open` is called when the first listener comes, and what it returned when the last one has gone.
 *
 * Whoever unsubscribes and subscribes again at once, as React does in StrictMode and when one component takes another's
 * place, does not close it: it closes a microtask later.
 */
export function createStore<State>(initial: State, open?: () => () => void): Store<State> {
  const listeners = new Set<() => void>();
  let state = initial;
  let close: (() => void) | undefined;

  function closeIfUnheard(): void {
    if (listeners.size > 0 || close === undefined) return;
    const closing = close;
    close = undefined;
    closing();
  }

  return {
    get: () => state,
    set(next) {
      if (Object.is(next, state)) return;
      state = next;
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      const own = () => listener();
      listeners.add(own);
      close ??= open?.();
      return () => {
        if (listeners.delete(own)) queueMicrotask(closeIfUnheard);
      };
    },
  };
}
