import { useMemo } from "react";
import type { Credential } from "./credential.js";
import { idleFeed } from "./feed.js";
import { useHub } from "./provider.js";
import { type FollowedRun, UNKNOWN_RUN } from "./run-feed.js";
import { useFeed } from "./use-feed.js";

/** How to see a run. */
export interface UseRunOptions {
  readonly accessToken?: Credential;
}

/** A run as it stands, and how following it goes. */
export interface UseRun extends FollowedRun {
  /** Tries again after a refusal. */
  readonly retry: () => void;
}

const IDLE: FollowedRun = Object.freeze({ ...UNKNOWN_RUN, status: "idle" });
const idle = idleFeed(IDLE);

/** A run, again whenever it has changed. Without a run id it waits for one. */
export function useRun(runId: string | null | undefined, options: UseRunOptions = {}): UseRun {
  const hub = useHub();
  const { accessToken } = options;
  const target = accessToken === null ? undefined : runId || undefined;
  const feed = useMemo(() => (target === undefined ? idle : hub.run(target)), [hub, target]);
  const state = useFeed(feed, accessToken, target === undefined ? IDLE : UNKNOWN_RUN);
  return useMemo(() => ({ ...state, retry: feed.retry }), [state, feed]);
}
