import type { Client } from "../client.js";
import type { Run } from "../run.js";
import type { CurrentCredential } from "./credential.js";
import { createFeed, type Feed, type Followed } from "./feed.js";

/** What is known of a run. */
export interface FollowedRun extends Followed {
  /** As it stands; undefined until the server has answered. */
  readonly run: Run | undefined;
}

export const UNKNOWN_RUN: FollowedRun = Object.freeze({ status: "open", error: undefined, run: undefined });

export function createRunFeed(
  client: Client,
  runId: string,
  credential: CurrentCredential,
  onClose: () => void,
): Feed<FollowedRun> {
  return createFeed<FollowedRun>(
    UNKNOWN_RUN,
    credential,
    (_, accessToken, { update, onEnd, onError }) =>
      client.followRun(runId, {
        accessToken,
        onRun: (run) => update((state) => ({ ...state, run })),
        onEnd,
        onError,
      }),
    onClose,
  );
}
