import type { Transport } from "@connectrpc/connect";
import { platform } from "#platform";
import { type CallOptions, createCalls } from "./calls.js";
import { type AccessToken, createWallet, fetchedCredentials, fixedCredentials } from "./credentials.js";
import { MidstreamError } from "./error.js";
import type { Connection } from "./follow/connection.js";
import { createFollower, type Following } from "./follow/follower.js";
import { followByStream } from "./follow/source.js";
import { type RecordsListener, type RunListener, recordsTarget, runTarget } from "./follow/target.js";
import type { Direction, Receipt } from "./models.js";
import type { Link } from "./platform/platform.js";
import { draft, type RecordOptions } from "./sending/draft.js";
import { createLanes } from "./sending/lanes.js";
import { type InputStream, type StreamOrId, streamId } from "./streams.js";

/** Which server, and as whom. */
export interface ConnectOptions {
  /**
   * In a browser the address of the server's web listener, such as `https://midstream.example.com`; unset: the page's own
   * origin. In Node `grpc://host:port`, `grpcs://` for TLS, or `http(s)://` for Connect; unset: MIDSTREAM_URL, else a
   * server on this machine.
   */
  url?: string | undefined;
  /** For backends. Never in a page. */
  apiKey?: string | undefined;
  /** For frontends: a token, or what fetches one and is asked again when it has expired. */
  accessToken?: AccessToken | undefined;
  /** Bounds a call with all its attempts, in milliseconds. Unset: 60,000. */
  timeoutMs?: number | undefined;
  /** In place of `url`: any Connect transport, such as one to a server in memory. */
  transport?: Transport | undefined;
}

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

/** Talks to one server. Opens its connection when that is first needed. */
export interface Client {
  /** Stores a record; when this resolves, it is on disk. Throws MidstreamError. */
  send<T>(runId: string, stream: InputStream<T>, value: T, options?: RecordOptions & CallOptions): Promise<Receipt>;
  send(runId: string, stream: string, value: unknown, options?: RecordOptions & CallOptions): Promise<Receipt>;

  /**
   * Follows a run's records until `close`. Everything that is followed with one client shares one subscription, which is
   * opened again by itself, without a gap or a repeat.
   */
  followRecords(runId: string, options: FollowRecordsOptions): Following;

  /** Follows a run's state until `close`, by the same subscription. */
  followRun(runId: string, options: FollowRunOptions): Following;

  /** Whether what is followed arrives. */
  readonly connection: Connection;

  /** Cuts off what is under way. */
  close(): void;
}

/** A client of the server at `url`. Throws TypeError for options that make no sense. */
export function connect(options: ConnectOptions = {}): Client {
  const link = linkTo(options);
  const closed = new AbortController();
  const credentialsOf = createWallet(ownCredentials(options));
  const timeoutMs = options.timeoutMs ?? 60_000;
  const calls = createCalls({ transport: link.transport, timeoutMs, credentialsOf, closed: closed.signal });
  const lanes = createLanes(calls, timeoutMs);
  const follower = createFollower({ source: link.follow, credentials: credentialsOf(), onWake: platform.onWake });

  const client: Client = {
    async send(runId: string, stream: StreamOrId, value: unknown, sendOptions?: RecordOptions & CallOptions) {
      const result = await lanes.put(runId, streamId(stream), draft(value, sendOptions), sendOptions);
      if (!result.ok) throw result.error;
      return result.receipt;
    },

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

    followRun(runId, { accessToken, ...listener }) {
      return follower.follow(runTarget(runId, listener, credentialsOf(accessToken)));
    },

    connection: follower.connection,

    close() {
      closed.abort(new MidstreamError("this client is closed", { code: "CANCELLED" }));
      follower.close();
      link.close();
    },
  };
  return client;
}

function linkTo({ url, transport }: ConnectOptions): Link {
  if (!transport) return platform.link(url);
  return { transport, duplex: true, follow: followByStream(transport), close: () => {} };
}

function ownCredentials({ apiKey, accessToken }: ConnectOptions) {
  if (apiKey !== undefined && accessToken !== undefined)
    throw new TypeError("give an apiKey or an accessToken, not both");
  return typeof accessToken === "function" ? fetchedCredentials(accessToken) : fixedCredentials(apiKey ?? accessToken);
}
