import type { Transport } from "@connectrpc/connect";
import { platform } from "#platform";
import type { AttachedRun, AttachOptions } from "./attached/attach.js";
import { createCalls } from "./calls.js";
import { type AccessToken, createWallet, fetchedCredentials, fixedCredentials } from "./credentials.js";
import { MidstreamError } from "./error.js";
import { createFollower } from "./follow/follower.js";
import { followByStream } from "./follow/source.js";
import { createFollows, type Follows } from "./methods/follows.js";
import { createReads, type Reads } from "./methods/reads.js";
import { createRuns, type Runs } from "./methods/runs.js";
import { createSends, type Sends } from "./methods/sends.js";
import { createTokens, type Tokens } from "./methods/tokens.js";
import type { Link } from "./platform/platform.js";
import type { Schemas } from "./schemas/schemas.js";
import { createLanes } from "./sending/lanes.js";

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

/** Talks to one server, and opens its connection when that is first needed. Every call throws MidstreamError. */
export interface Client extends Sends, Runs, Reads, Tokens, Follows {
  /**
   * Makes this process a run for as long as the block lasts, or finds the run that it is. Needs gRPC, so not in browsers.
   *
   * The run ends as the block does: COMPLETED with what it returns, FAILED where it throws, CANCELLED where the run was
   * cancelled and the block threw for that. Resolves to what the block returned.
   */
  attach<R>(options: AttachOptions, block: (run: AttachedRun) => Promise<R> | R): Promise<R>;

  /** What may be sent on which stream. For backends, so not in browsers. */
  readonly schemas: Schemas;

  /** Cuts off what is under way. */
  close(): void;
}

/** A client of the server at `url`. Throws TypeError for options that make no sense. */
export function connect(options: ConnectOptions = {}): Client {
  const link = linkTo(options);
  const { transport } = link;
  const closing = new AbortController();
  const closed = closing.signal;
  const credentialsOf = createWallet(ownCredentials(options));
  const timeoutMs = options.timeoutMs ?? 60_000;
  const calls = createCalls({ transport, timeoutMs, credentialsOf, closed });
  const lanes = createLanes(calls, timeoutMs);
  const pipeline = link.duplex ? platform.pipeline?.(transport, credentialsOf(), closed, timeoutMs) : undefined;
  const follower = createFollower({ source: link.follow, credentials: credentialsOf(), onWake: platform.onWake });
  const follows = createFollows(follower, credentialsOf);

  return {
    ...createSends((call) => (call?.accessToken === undefined && pipeline) || lanes),
    ...createRuns(calls),
    ...createReads(calls, link.duplex ? undefined : follows),
    ...createTokens(calls),
    ...follows,
    async attach(attachOptions, block) {
      if (!link.duplex || !platform.attach) {
        throw new MidstreamError("to attach a run takes gRPC: connect in Node, to a grpc:// or grpcs:// address", {
          code: "UNIMPLEMENTED",
        });
      }
      return platform.attach({ calls, transport, credentials: credentialsOf() }, closed, attachOptions, block);
    },
    get schemas() {
      if (!platform.schemas) {
        throw new MidstreamError("schemas are the business of backends: connect in Node", { code: "UNIMPLEMENTED" });
      }
      return platform.schemas(calls);
    },
    close() {
      closing.abort(new MidstreamError("this client is closed", { code: "CANCELLED" }));
      follower.close();
      link.close();
    },
  };
}

function linkTo({ url, transport }: ConnectOptions): Link {
  if (!transport) return platform.link(url);
  return { transport, duplex: false, follow: followByStream(transport), close: () => {} };
}

function ownCredentials({ apiKey, accessToken }: ConnectOptions) {
  if (apiKey !== undefined && accessToken !== undefined)
    throw new TypeError("give an apiKey or an accessToken, not both");
  return typeof accessToken === "function" ? fetchedCredentials(accessToken) : fixedCredentials(apiKey ?? accessToken);
}
