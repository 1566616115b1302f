/** Throws RangeError for what is no time to wait. */
export function checkTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs >= 0)) {
    throw new RangeError(`timeoutMs is a number of milliseconds from 0, got ${timeoutMs}`);
  }
}
