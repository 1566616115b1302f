import { isTransient, type MidstreamError } from "./error.js";

const SHORTEST_MS = 50;
const LONGEST_MS = 5_000;

/** How long to wait before the next attempt. */
export interface Backoff {
  /** Milliseconds to wait after `error`; undefined: do not try again. */
  delayMs(error: MidstreamError): number | undefined;
  /** The call worked: the next failure begins at the shortest delay again. */
  reset(): void;
}

/**
 * Exponential with full jitter: anything from nothing to a bound that grows from 50 ms to 5 s, so that clients that lost
 * one server together do not come back together. Where the server says how long to wait, the jitter comes on top.
 */
export function createBackoff(random: () => number = Math.random): Backoff {
  let failures = 0;
  return {
    delayMs(error) {
      if (!isTransient(error)) return undefined;
      const boundMs = Math.min(SHORTEST_MS * 2 ** Math.min(failures, 16), LONGEST_MS);
      failures += 1;
      return random() * boundMs + (error.retryAfterMs ?? 0);
    },
    reset() {
      failures = 0;
    },
  };
}
