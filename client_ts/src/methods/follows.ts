import { type Codec, read } from "../codec.js";
import type { AccessToken, Credentials } from "../credentials.js";
import type { Follower, Following } from "../follow/follower.js";
import { type Listener, recordsTarget, type RunListener, runTarget } from "../follow/target.js";
import type { Connection } from "../follow/connection.js";
import type { Direction, PayloadForm, StreamRecord } from "../models.js";
import { RecordInvalid } from "../record-invalid.js";
import { codecOf, type StreamDeclaration, streamId } from "../streams.js";

/** What to follow of a run's records. */
export interface FollowRecordsOptions<T = unknown> extends Listener {
  /** New records in offset order. Everything up to `asOfOffset` has come: go on from there another time. */
  onRecords: (records: StreamRecord<T>[], asOfOffset: number) => void;
  /** Hears of a record that does not fit the stream's declared type, and is left out. Unset: the console does. */
  onInvalid?: ((error: RecordInvalid) => void) | undefined;
  /** Unset: all of the run's streams. */
  stream?: string | StreamDeclaration<T, Direction> | undefined;
  /** Unset: the declared stream's own, else `"input"`. */
  direction?: Direction | undefined;
  /** Records behind this offset; unset: from the first. */
  afterOffset?: number | undefined;
  /** Unset: as it is stored. */
  view?: PayloadForm | undefined;
  accessToken?: AccessToken | undefined;
}

/** What to follow of a run. */
export interface FollowRunOptions extends RunListener {
  accessToken?: AccessToken | undefined;
}

/** Following runs and records, for pages: everything that one client follows shares one subscription. */
export interface Follows {
  /** Follows a run's records until `close`, after a drop without a gap or a repeat. */
  followRecords<T = unknown>(runId: string, options: FollowRecordsOptions<T>): Following;
  /** Follows a run's state until `close`. */
  followRun(runId: string, options: FollowRunOptions): Following;
  /** Whether what is followed arrives. */
  readonly connection: Connection;
}

export function createFollows(follower: Follower, credentialsOf: (accessToken?: AccessToken) => Credentials): Follows {
  return {
    followRecords(runId, { stream, direction, afterOffset, accessToken, view, onRecords, onInvalid, ...ends }) {
      const declared = typeof stream === "object" ? stream.direction : undefined;
      const what = {
        runId,
        streamId: stream === undefined ? "" : streamId(stream),
        direction: direction ?? declared ?? "input",
        afterOffset: afterOffset ?? 0,
        view,
      };
      const codec = codecOf(stream) as Codec<never, never> | undefined;
      const listener = {
        ...ends,
        onRecords: (records: StreamRecord[], asOfOffset: number) =>
          onRecords(fitting(records, codec, onInvalid ?? console.error), asOfOffset),
      };
      return follower.follow(recordsTarget(what, listener, credentialsOf(accessToken)));
    },
    followRun: (runId, { accessToken, ...listener }) =>
      follower.follow(runTarget(runId, listener, credentialsOf(accessToken))),
    connection: follower.connection,
  };
}

function fitting<T>(
  records: readonly StreamRecord[],
  codec: Codec<T, never> | undefined,
  onInvalid: (error: RecordInvalid) => void,
): StreamRecord<T>[] {
  return records.flatMap((record) => {
    try {
      return [read(codec, record)];
    } catch (error) {
      if (!(error instanceof RecordInvalid)) throw error;
      onInvalid(error);
      return [];
    }
  });
}
