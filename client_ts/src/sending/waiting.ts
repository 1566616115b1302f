import { checkTimeout } from "../check-timeout.js";
import { deadlineExceeded } from "../error.js";
import type { SendResult } from "../models.js";
import type { Draft } from "./draft.js";

/** A record whose answer somebody waits for, until it is here, its time is up, or its signal is aborted. */
export interface Waiting {
  readonly draft: Draft;
  readonly giveUpAt: number;
  /** Nobody waits any more. */
  readonly gone: boolean;
  readonly answer: Promise<SendResult>;
  settle(result: SendResult): void;
}

/** `left` is called when the one who waits goes without an answer. */
export function waitFor(
  draft: Draft,
  options: { signal?: AbortSignal | undefined; timeoutMs: number },
  left: () => void,
): Waiting {
  const { signal, timeoutMs } = options;
  checkTimeout(timeoutMs);
  let resolve: (result: SendResult) => void = () => {};
  let reject: (reason: unknown) => void = () => {};
  const answer = new Promise<SendResult>((resolveAnswer, rejectAnswer) => {
    resolve = resolveAnswer;
    reject = rejectAnswer;
  });
  let gone = false;
  const leave = () => {
    gone = true;
    clearTimeout(timer);
    signal?.removeEventListener("abort", aborted);
  };
  const aborted = () => {
    leave();
    reject(signal?.reason);
    left();
  };
  const timer = setTimeout(() => {
    leave();
    resolve({ ok: false, error: deadlineExceeded() });
    left();
  }, timeoutMs);
  if (signal?.aborted) aborted();
  else signal?.addEventListener("abort", aborted);
  return {
    draft,
    giveUpAt: Date.now() + timeoutMs,
    get gone() {
      return gone;
    },
    answer,
    settle(result) {
      if (gone) return;
      leave();
      resolve(result);
    },
  };
}
