import type { Client } from "../../src/client.js";
import type { AccessToken } from "../../src/credentials.js";
import { MidstreamError } from "../../src/error.js";
import type { Direction, Receipt, StreamRecord } from "../../src/models.js";

import type { Run } from "../../src/run.js";

type FollowRecords = Parameters<Client["followRecords"]>[1];
type FollowRun = Parameters<Client["followRun"]>[1];

/** One `follow` call that is open. */
export interface Opened<Options> {
  readonly runId: string;
  readonly options: Options;
  readonly accessToken: AccessToken | undefined;
}

/** A send that the test answers. */
export interface Sent {
  readonly runId: string;
  readonly streamId: string;
  readonly value: unknown;
  readonly key: string;
  readonly accessToken: AccessToken | undefined;
  accept(receipt?: Partial<Receipt>): void;
  refuse(error: MidstreamError): void;
}

/** A client without a server: the test says what the server would. */
export interface MemoryClient {
  readonly client: Client;
  readonly sent: Sent[];
  /** Every `followRecords` so far. */
  readonly recordFollows: Opened<FollowRecords>[];
  readonly runFollows: Opened<FollowRun>[];
  /** Those that are not closed. */
  openRecords(): Opened<FollowRecords>[];
  openRuns(): Opened<FollowRun>[];
  setConnection(state: Client["connection"]["state"]): void;
  readonly connectionListeners: Set<() => void>;
}

export function memoryClient(): MemoryClient {
  const sent: Sent[] = [];
  const recordFollows: Opened<FollowRecords>[] = [];
  const runFollows: Opened<FollowRun>[] = [];
  const closed = new Set<object>();
  const listeners = new Set<() => void>();
  let connection: Client["connection"]["state"] = "idle";

  function open<Options extends { accessToken?: AccessToken | undefined }>(
    all: Opened<Options>[],
    runId: string,
    options: Options,
  ): { close(): void } {
    const opened = { runId, options, accessToken: options.accessToken };
    all.push(opened);
    return { close: () => closed.add(opened) };
  }

  const client = {
    send: (runId: string, stream: string | { id: string }, value: unknown, options: { key?: string } & object = {}) =>
      new Promise<Receipt>((resolve, reject) => {
        sent.push({
          runId,
          streamId: typeof stream === "string" ? stream : stream.id,
          value,
          key: options.key ?? "",
          accessToken: (options as { accessToken?: AccessToken }).accessToken,
          accept: (receipt = {}) =>
            resolve({ seq: 1, offset: 1, acceptTime: new Date(0), deduplicated: false, dropped: 0, ...receipt }),
          refuse: reject,
        });
      }),
    followRecords: (runId: string, options: FollowRecords) => open(recordFollows, runId, options),
    followRun: (runId: string, options: FollowRun) => open(runFollows, runId, options),
    connection: {
      get state() {
        return connection;
      },
      subscribe(listener: () => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
  };

  return {
    client: client as unknown as Client,
    sent,
    recordFollows,
    runFollows,
    openRecords: () => recordFollows.filter((opened) => !closed.has(opened)),
    openRuns: () => runFollows.filter((opened) => !closed.has(opened)),
    setConnection(state) {
      connection = state;
      for (const listener of listeners) listener();
    },
    connectionListeners: listeners,
  };
}

export function record(offset: number, more: Partial<StreamRecord> = {}): StreamRecord {
  return {
    runId: "run_1",
    streamId: "user-message",
    direction: "input" as Direction,
    seq: offset,
    offset,
    value: `value ${offset}`,
    schemaVersion: 0,
    sender: { kind: "ACCESS_TOKEN", subject: "ada" },
    acceptTime: new Date(offset),
    idempotencyKey: `key ${offset}`,
    metadata: {},
    ...more,
  };
}

export function runIn(state: Run["state"]): Run {
  return {
    id: "run_1",
    task: "t",
    kind: "MANAGED",
    state,
    isFinal: false,
    createTime: new Date(0),
    lastOffset: 1,
    streams: [],
    outputs: [],
    handlerFailureCount: 0,
    handlerFailures: [],
    metadata: {},
  };
}

export function refusal(reason: string, code: MidstreamError["code"] = "FAILED_PRECONDITION"): MidstreamError {
  return new MidstreamError(`refused: ${reason}`, { reason, code });
}
