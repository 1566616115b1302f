import type { Client } from "../client.js";
import { type CurrentCredential, createCredentials } from "./credential.js";
import type { Feed } from "./feed.js";
import { createOutbox, type Outbox } from "./outbox.js";
import { covers, createRecordsFeed, type FollowedRecords, type RecordsTarget, targetKey } from "./records-feed.js";
import { createRunFeed, type FollowedRun } from "./run-feed.js";

/** What the components below one provider share: a client, one feed for each thing followed, and what was sent. */
export interface Hub {
  readonly client: Client;
  /** A place for a hook's access token. */
  readonly credential: () => CurrentCredential;
  readonly run: (runId: string) => Feed<FollowedRun>;
  readonly records: (target: RecordsTarget) => Feed<FollowedRecords>;
  readonly outbox: (runId: string) => Outbox;
}

export function createHub(client: Client): Hub {
  const credential = createCredentials();
  const runs = new Map<string, Feed<FollowedRun>>();
  const records = new Map<string, { target: RecordsTarget; feed: Feed<FollowedRecords> }>();
  const outboxes = new Map<string, Outbox>();

  function isAwaited(runId: string, streamId: string, offset: number): boolean {
    return [...records.values()].some(({ target, feed }) => {
      const { status, asOfOffset } = feed.state.get();
      return status === "open" && asOfOffset < offset && covers(target, runId, streamId);
    });
  }

  return {
    client,
    credential,
    run: (runId) =>
      getOrMake(runs, runId, () =>
        createRunFeed(client, runId, credential(), () => {
          runs.delete(runId);
        }),
      ),
    records(target) {
      const key = targetKey(target);
      const outbox = () => outboxes.get(target.runId);
      return getOrMake(records, key, () => ({
        target,
        feed: createRecordsFeed(
          client,
          target,
          credential(),
          (arrived) => outbox()?.settle(arrived),
          () => {
            records.delete(key);
            outbox()?.settle([]);
          },
        ),
      })).feed;
    },
    outbox: (runId) =>
      getOrMake(outboxes, runId, () => createOutbox(runId, (streamId, offset) => isAwaited(runId, streamId, offset))),
  };
}

function getOrMake<V>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
