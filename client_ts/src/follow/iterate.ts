import { deadlineExceeded, type MidstreamError } from "../error.js";
import type { Following } from "./follower.js";

/** What a loop over something followed hears. */
export interface Ears<T> {
  push: (...values: T[]) => void;
  onEnd: () => void;
  onError: (error: MidstreamError) => void;
}

/** What is followed, as a loop. Leaving it stops following. */
export async function* iterate<T>(
  options: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined },
  follow: (ears: Ears<T>) => Following,
): AsyncGenerator<T, void, undefined> {
  const { signal, timeoutMs } = options;
  signal?.throwIfAborted();
  const values: T[] = [];
  let ended: { error?: unknown } | undefined;
  let wake = () => {};
  const end = (how: { error?: unknown }) => {
    ended ??= how;
    wake();
  };
  const aborted = () => end({ error: signal?.reason });
  const following = follow({
    push(...more) {
      values.push(...more);
      wake();
    },
    onEnd: () => end({}),
    onError: (error) => end({ error }),
  });
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => end({ error: deadlineExceeded() }), timeoutMs);
  signal?.addEventListener("abort", aborted);
  try {
    for (;;) {
      const next = values.shift();
      if (next !== undefined) yield next;
      else if (ended) break;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
    if ("error" in ended) throw ended.error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", aborted);
    following.close();
  }
}
