import type {
  DescMessage,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createBackoff } from "./backoff.js";
import { checkTimeout } from "./check-timeout.js";
import type { AccessToken, Credentials } from "./credentials.js";
import { fromCall } from "./call-error.js";
import { deadlineExceeded, type MidstreamError } from "./error.js";
import { anySignal } from "./signals.js";
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

/** Makes calls, and repeats them while that may help. */
export interface Calls {
  /** Makes a call that is safe to repeat. Throws MidstreamError, or the signal's reason. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: CallOptions,
  ): Promise<MessageShape<O>>;
  /**
   * Reads a server's stream until it ends, and opens it again after a drop: `request` is asked for each attempt, and
   * begins behind what was read. Leaving the loop aborts the stream. Throws as `unary` does; `timeoutMs` bounds the whole.
   */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: () => MessageInitShape<I>,
    options?: CallOptions,
  ): AsyncGenerator<MessageShape<O>, void, undefined>;
}

export function createCalls(defaults: {
  transport: Transport;
  timeoutMs: number;
  credentialsOf: (accessToken?: AccessToken) => Credentials;
  closed: AbortSignal;
}): Calls {
  const { closed, transport } = defaults;

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

  /** What the next attempt may take and say. */
  async function next(attempt: Attempt): Promise<{ timeoutMs: number | undefined; header: HeadersInit | undefined }> {
    if (attempt.signal?.aborted) throw attempt.signal.reason;
    if (closed.aborted) throw closed.reason;
    attempt.secret = await attempt.credentials.get();
    const header = attempt.secret === undefined ? undefined : { authorization: `Bearer ${attempt.secret}` };
    if (attempt.giveUpAt === Number.POSITIVE_INFINITY) return { timeoutMs: undefined, header };
    const timeoutMs = Math.ceil(attempt.giveUpAt - Date.now());
    // To a transport, zero means no timeout.
    if (timeoutMs <= 0) throw attempt.lastError ?? deadlineExceeded();
    return { timeoutMs, header };
  }

  return {
    async unary(method, request, options) {
      const attempt = begin(options, options?.timeoutMs ?? defaults.timeoutMs);
      const either = anySignal([options?.signal, closed]);
      try {
        for (;;) {
          try {
            const { timeoutMs, header } = await next(attempt);
            return (await transport.unary(method, either.signal, timeoutMs, header, request)).message;
          } catch (failed) {
            await pause(failed, attempt);
          }
        }
      } finally {
        either.done();
      }
    },

    async *stream(method, request, options) {
      const attempt = begin(options, options?.timeoutMs);
      for (;;) {
        const either = anySignal([options?.signal, closed]);
        try {
          const { timeoutMs, header } = await next(attempt);
          const response = await transport.stream(method, either.signal, timeoutMs, header, only(request()));
          for await (const message of response.message) {
            attempt.backoff.reset();
            attempt.refreshed = false;
            yield message;
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

/** One request, as a transport takes it. */
export async function* only<T>(request: T): AsyncGenerator<T, void, undefined> {
  yield request;
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
