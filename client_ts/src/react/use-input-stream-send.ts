import { useCallback, useInsertionEffect, useMemo, useSyncExternalStore } from "react";
import { MidstreamError } from "../error.js";
import type { Receipt } from "../models.js";
import { ulid } from "../random-key.js";
import { codecOf, type InputStream } from "../streams.js";
import type { Credential } from "./credential.js";
import type { SendOutcome } from "./outbox.js";
import { useHub } from "./provider.js";
import { createStore } from "./store.js";

/** With what to send. */
export interface UseInputStreamSendOptions {
  readonly accessToken?: Credential;
}

/** How to send one record. */
export interface SendOptions {
  /** Two sends with one key store one record. By default a new one, which the client's own retries share. */
  readonly key?: string;
  readonly metadata?: Record<string, string>;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** A way to send into a run, and how it went. */
export interface UseInputStreamSend<In> {
  /**
   * Stores a value on the stream. The promise tells what became of it and never rejects: ignoring it is harmless, since
   * `error` says the same. The same function for as long as stream, run and readiness are the same.
   */
  readonly send: (value: In, options?: SendOptions) => Promise<SendOutcome>;
  /** There is a run and, unless `accessToken` is null, what to send with. */
  readonly isReady: boolean;
  readonly isSending: boolean;
  /** Why the newest answer was a refusal, with `fields` where the value did not fit; undefined where it was none. */
  readonly error: MidstreamError | undefined;
  /** Of the last record that was stored. */
  readonly lastReceipt: Receipt | undefined;
}

interface Progress {
  readonly sendingCount: number;
  readonly error: MidstreamError | undefined;
  readonly lastReceipt: Receipt | undefined;
}

const NOTHING_SENT: Progress = Object.freeze({ sendingCount: 0, error: undefined, lastReceipt: undefined });

/** Sends records to an input stream of a run. Typed by the stream, where that is a declared one. */
export function useInputStreamSend<In = unknown>(
  stream: string | InputStream<unknown, In>,
  runId: string | null | undefined,
  options: UseInputStreamSendOptions = {},
): UseInputStreamSend<In> {
  const hub = useHub();
  const streamId = typeof stream === "string" ? stream : stream.id;
  const codec = codecOf(stream);
  const { accessToken } = options;
  const isReady = Boolean(runId) && accessToken !== null;

  const credential = useMemo(() => hub.credential(), [hub]);
  // Before every other effect of the commit, so that those can send.
  useInsertionEffect(() => {
    credential.set(accessToken);
  }, [credential, accessToken]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another target begins with nothing sent
  const progress = useMemo(() => createStore(NOTHING_SENT), [hub, runId, streamId]);
  const { sendingCount, error, lastReceipt } = useSyncExternalStore(
    progress.subscribe,
    progress.get,
    () => NOTHING_SENT,
  );

  const send = useCallback(
    async (value: In, { key = ulid(), ...how }: SendOptions = {}): Promise<SendOutcome> => {
      if (!runId || !isReady) {
        const error = new MidstreamError("there is nothing to send to yet: wait until isReady is true", {
          code: "FAILED_PRECONDITION",
        });
        progress.set({ ...progress.get(), error });
        return { ok: false, receipt: undefined, error };
      }
      progress.set({ ...progress.get(), sendingCount: progress.get().sendingCount + 1 });
      const target = { direction: "input", id: streamId, ...(codec && { codec }) } as InputStream<unknown, In>;
      const outcome = await hub
        .outbox(runId)
        .send({ streamId, value, idempotencyKey: key }, () =>
          hub.client.send(runId, target, value, { ...how, key, accessToken: credential.get() }),
        );
      const last = progress.get();
      progress.set({
        sendingCount: last.sendingCount - 1,
        error: outcome.error,
        lastReceipt: outcome.receipt ?? last.lastReceipt,
      });
      return outcome;
    },
    [hub, runId, streamId, codec, isReady, credential, progress],
  );

  return { send, isReady, isSending: sendingCount > 0, error, lastReceipt };
}
