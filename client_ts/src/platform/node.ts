import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { attach } from "../attached/attach.js";
import { followByStream } from "../follow/source.js";
import { createSchemas } from "../schemas/schemas.js";
import { createPipeline } from "../sending/pipeline.js";
import type { Platform } from "./platform.js";
import { platform as web } from "./web.js";

const DEFAULT_URL = "grpc://127.0.0.1:7733";
const DEFAULT_PORT = "7733";

/** Node: gRPC over HTTP/2; Connect where the URL is one of http or https. */
export const platform: Platform = {
  link(url) {
    const named = url ?? process.env["MIDSTREAM_URL"] ?? DEFAULT_URL;
    if (/^https?:/.test(named)) return web.link(named);
    const baseUrl = address(named);
    // Notices a peer that vanished without a word within half a minute.
    const sessions = new Http2SessionManager(baseUrl, { pingIntervalMs: 20_000, pingTimeoutMs: 10_000 });
    const transport = createGrpcTransport({ baseUrl, sessionManager: sessions, acceptCompression: [] });
    return { transport, duplex: true, follow: followByStream(transport), close: () => sessions.abort() };
  },

  pipeline: createPipeline,
  attach,
  schemas: createSchemas,

  onWake: web.onWake,
};

/** The address as HTTP/2 wants it. */
function address(url: string): string {
  const match = /^(?:(grpcs?):\/\/)?(\[[^\]]+\]|[^/:@?#]+)(?::(\d{1,5}))?\/?$/.exec(url);
  if (!match) {
    throw new TypeError(
      `cannot use ${JSON.stringify(url)} as a server's URL; write grpc://host:port, grpcs:// for TLS, or http(s):// for Connect`,
    );
  }
  const [, scheme = "grpc", host, port = DEFAULT_PORT] = match;
  return `${scheme === "grpcs" ? "https" : "http"}://${host}:${port}`;
}
