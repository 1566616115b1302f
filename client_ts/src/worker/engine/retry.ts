/** When a failed step is tried again. */

import { type Duration, parseDuration } from "../../duration.js";

/** Between the attempts it waits `firstDelay`, then `factor` times as long each time, at most `maxDelay`. No jitter: a replay knows the waits. */
export interface Retry {
  /** How often to try in all. Unset: 3. */
  readonly maxAttempts?: number;
  /** Unset: 1 s. */
  readonly firstDelay?: Duration;
  /** Unset: 2. */
  readonly factor?: number;
  /** Unset: 1 min. */
  readonly maxDelay?: Duration;
}

export interface RetryPolicy {
  readonly maxAttempts: number;
  /** How long after that attempt's end, from 1, the next one may begin; in microseconds. */
  delayUs(failedAttempt: number): number;
}

const LONGEST_GROWTH = 300;

export const ONCE: RetryPolicy = { maxAttempts: 1, delayUs: () => 0 };

/** A number is how often to try, with the usual waits. Throws RangeError for numbers that make no sense. */
export function retryPolicy(retry: Retry | number | undefined): RetryPolicy {
  if (retry === undefined) return ONCE;
  const {
    maxAttempts = 3,
    firstDelay = "1s",
    factor = 2,
    maxDelay = "1m",
  } = typeof retry === "number" ? { maxAttempts: retry } : retry;
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1) {
    throw new RangeError(`a step is tried a whole number of times, at least once: got maxAttempts ${maxAttempts}`);
  }
  if (!(factor >= 1)) throw new RangeError(`waits do not get shorter: factor is at least 1, got ${factor}`);
  const first = parseDuration(firstDelay) * 1_000;
  const longest = parseDuration(maxDelay) * 1_000;
  return {
    maxAttempts,
    delayUs: (failedAttempt) =>
      Math.floor(Math.min(longest, first * factor ** Math.min(failedAttempt - 1, LONGEST_GROWTH))),
  };
}
