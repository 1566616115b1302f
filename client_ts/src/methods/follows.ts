import type { AccessToken, Credentials } from "../credentials.js";
import type { Follower, Following } from "../follow/follower.js";
import { type RecordsListener, recordsTarget, type RunListener, runTarget } from "../follow/target.js";
import type { Connection } from "../follow/connection.js";
import type { Direction } from "../models.js";
import { type StreamOrId, streamId } from "../streams.js";

/** What to follow of a run's records. */
export interface FollowRecordsOptions extends RecordsListener {
  /** Unset: all of the run's streams. */
  stream?: StreamOrId | undefined;
  /** Unset: the declared stream's own, else `"input"`. */
  direction?: Direction | undefined;
  /** Records behind this offset; unset: from the first. */
  afterOffset?: number | undefined;
  accessToken?: AccessToken | undefined;
}

/** What to follow of a run. */
export interface FollowRunOptions extends RunListener {
  accessToken?: AccessToken | undefined;
}

/** Following runs and records, for pages: everything that one client follows shares one subscription. */
export interface Follows {
  /** Follows a run's records until `close`, after a drop without a gap or a repeat. */
  followRecords(runId: string, options: FollowRecordsOptions): Following;
  /** Follows a run's state until `close`. */
  followRun(runId: string, options: FollowRunOptions): Following;
  /** Whether what is followed arrives. */
  readonly connection: Connection;
}

export function createFollows(follower: Follower, credentialsOf: (accessToken?: AccessToken) => Credentials): Follows {
  return {
    followRecords(runId, { stream, direction, afterOffset, accessToken, ...listener }) {
      const declared = typeof stream === "object" ? stream.direction : undefined;
      const what = {
        runId,
        streamId: stream === undefined ? "" : streamId(stream),
        direction: direction ?? declared ?? "input",
        afterOffset: afterOffset ?? 0,
      };
      return follower.follow(recordsTarget(what, listener, credentialsOf(accessToken)));
    },
    followRun: (runId, { accessToken, ...listener }) =>
      follower.follow(runTarget(runId, listener, credentialsOf(accessToken))),
    connection: follower.connection,
  };
}
