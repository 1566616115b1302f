import type { CallOptions as ConnectOptions } from "@connectrpc/connect";
import { createBackoff } from "./backoff.js";
import type { AccessToken, Credentials } from "./credentials.js";
import { fromCall, MidstreamError } from "./error.js";
import { sleep } from "./sleep.js";

/** What every call takes. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Bounds the call with all its attempts. Unset: the client's `timeoutMs`. */
  timeoutMs?: number | undefined;
  /** In place of the client's own credentials. */
  accessToken?: AccessToken | undefined;
}

/** Repeats calls while that may help. */
export interface Calls {
  /** Makes a call that is safe to repeat. Throws MidstreamError, or the signal's reason. */
  unary<R>(options: CallOptions | undefined, attempt: (options: ConnectOptions) => Promise<R>): Promise<R>;
  /**
   * Reads a server's stream until it ends, and opens it again after a drop: `open` is called for each attempt, and begins
   * behind what was read. Leaving the loop aborts the stream. Throws as `unary` does; `timeoutMs` bounds the whole.
   */
  stream<R>(
    options: CallOptions | undefined,
    open: (options: ConnectOptions) => AsyncIterable<R>,
  ): AsyncGenerator<R, void, undefined>;
}

export function createCalls(defaults: {
  timeoutMs: number;
  credentialsOf: (accessToken?: AccessToken) => Credentials;
  closed: AbortSignal;
}): Calls {
  const { closed } = defaults;

  /** Waits before the next attempt after `failed`, or throws it where another attempt makes no sense. */
  async function pause(failed: unknown, attempt: Attempt): Promise<void> {
    if (attempt.signal?.aborted) throw attempt.signal.reason;
    if (closed.aborted) throw closed.reason;
    const error = fromCall(failed);
    if (error.reason === "TOKEN_EXPIRED" && !attempt.refreshed && attempt.credentials.discard(attempt.secret)) {
      attempt.refreshed = true; // a fresh token that has expired, too, is no accident
      return;
    }
    if (error.code === "DEADLINE_EXCEEDED" && attempt.lastError) throw attempt.lastError;
    const delayMs = attempt.backoff.delayMs(error);
    if (delayMs === undefined || Date.now() + delayMs > attempt.giveUpAt) throw error;
    attempt.lastError = error;
    const either = anySignal([attempt.signal, closed]);
    try {
      await sleep(delayMs, either.signal);
    } finally {
      either.done();
    }
  }

  function begin(options: CallOptions | undefined, timeoutMs: number | undefined): Attempt {
    checkTimeout(timeoutMs);
    return {
      backoff: createBackoff(),
      credentials: defaults.credentialsOf(options?.accessToken),
      secret: undefined,
      refreshed: false,
      lastError: undefined,
      signal: options?.signal,
      giveUpAt: timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMs,
    };
  }

  async function optionsOf(attempt: Attempt, signal: AbortSignal): Promise<ConnectOptions> {
    if (attempt.signal?.aborted) throw attempt.signal.reason;
    if (closed.aborted) throw closed.reason;
    attempt.secret = await attempt.credentials.get();
    const headers = attempt.secret === undefined ? {} : { headers: { authorization: `Bearer ${attempt.secret}` } };
    if (attempt.giveUpAt === Number.POSITIVE_INFINITY) return { ...headers, signal };
    const timeoutMs = Math.ceil(attempt.giveUpAt - Date.now());
    // To the transport, zero means no timeout.
    if (timeoutMs <= 0) throw attempt.lastError ?? deadlineExceeded();
    return { ...headers, signal, timeoutMs };
  }

  return {
    async unary(options, call) {
      const attempt = begin(options, options?.timeoutMs ?? defaults.timeoutMs);
      const either = anySignal([options?.signal, closed]);
      try {
        for (;;) {
          try {
            return await call(await optionsOf(attempt, either.signal));
          } catch (failed) {
            await pause(failed, attempt);
          }
        }
      } finally {
        either.done();
      }
    },

    async *stream(options, open) {
      const attempt = begin(options, options?.timeoutMs);
      for (;;) {
        const either = anySignal([options?.signal, closed]);
        try {
          for await (const response of open(await optionsOf(attempt, either.signal))) {
            attempt.backoff.reset();
            attempt.refreshed = false;
            yield response;
          }
          return;
        } catch (failed) {
          await pause(failed, attempt);
        } finally {
          // Whoever leaves the loop early: nothing else would end the server's stream.
          either.abort();
        }
      }
    },
  };
}

interface Attempt {
  readonly backoff: ReturnType<typeof createBackoff>;
  readonly credentials: Credentials;
  readonly signal: AbortSignal | undefined;
  readonly giveUpAt: number;
  secret: string | undefined;
  refreshed: boolean;
  lastError: MidstreamError | undefined;
}

/** A signal that is aborted when one of several is; `done` lets go of them. (AbortSignal.any is too new.) */
export function anySignal(signals: readonly (AbortSignal | undefined)[]): {
  signal: AbortSignal;
  abort: (reason?: unknown) => void;
  done: () => void;
} {
  const controller = new AbortController();
  const links: [AbortSignal, () => void][] = [];
  const done = () => {
    for (const [signal, link] of links.splice(0)) signal.removeEventListener("abort", link);
  };
  const abort = (reason?: unknown) => {
    done();
    controller.abort(reason);
  };
  for (const signal of signals) {
    if (!signal) continue;
    if (signal.aborted) {
      abort(signal.reason);
      break;
    }
    const link = () => abort(signal.reason);
    links.push([signal, link]);
    signal.addEventListener("abort", link, { once: true });
  }
  return { signal: controller.signal, abort, done };
}

export function deadlineExceeded(): MidstreamError {
  return new MidstreamError("the server did not answer in time; what was sent may be stored", {
    code: "DEADLINE_EXCEEDED",
  });
}

export function checkTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs >= 0)) {
    throw new RangeError(`timeoutMs is a number of milliseconds from 0, got ${timeoutMs}`);
  }
}
