import type { Transport } from "@connectrpc/connect";
import type { attach } from "../attached/attach.js";
import type { FollowSource } from "../follow/source.js";
import type { createSchemas } from "../schemas/schemas.js";
import type { createPipeline } from "../sending/pipeline.js";

/** How a client reaches its server. */
export interface Link {
  readonly transport: Transport;
  /** Whether requests can be streamed, too. */
  readonly duplex: boolean;
  readonly follow: FollowSource;
  close(): void;
}

/** What differs between Node and browsers. */
export interface Platform {
  /** A link to the server at `url`, else at the usual place. Throws TypeError for a URL that cannot be used here. */
  readonly link: (url: string | undefined) => Link;
  /** Sends by pipelined calls, where requests can be streamed. */
  readonly pipeline?: typeof createPipeline;
  /** Makes this process a run, where requests can be streamed. */
  readonly attach?: typeof attach;
  /** The registry of schemas, which pages have no business with. */
  readonly schemas?: typeof createSchemas;
  /** Calls `woke` when the network or the page has come back. Returns what ends that. */
  readonly onWake: (woke: () => void) => () => void;
}
