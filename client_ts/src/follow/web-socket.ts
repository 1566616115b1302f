import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { fromStatus, MidstreamError } from "../error.js";
import {
  FollowRequestSchema,
  type FollowResponse,
  FollowResponseSchema,
} from "../gen/midstream/v1/stream_service_pb.js";
import type { FollowSource } from "./source.js";

const PATH = "/midstream.v1.StreamService/Follow";

/** A proxy that lets a WebSocket hang must not keep the page from the other way for ever. */
const OPEN_TIMEOUT_MS = 10_000;

/** Subscriptions by a WebSocket. Not bound by the six connections that HTTP/1.1 gives a host. */
export function followByWebSocket(url: string): FollowSource {
  const address = url.replace(/^http/, "ws").replace(/\/$/, "") + PATH;
  return async function* follow(request, { signal, opened }) {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    const arrived: FollowResponse[] = [];
    let ended: { error?: unknown } | undefined;
    let wake = () => {};
    const end = (error?: unknown) => {
      ended ??= error === undefined ? {} : { error };
      wake();
    };
    const aborted = () => end(signal.reason);
    const openTimer = setTimeout(() => end(unavailable("the WebSocket did not open in time")), OPEN_TIMEOUT_MS);
    socket.onopen = () => {
      clearTimeout(openTimer);
      socket.send(toBinary(FollowRequestSchema, request));
      opened();
    };
    socket.onmessage = ({ data }) => {
      try {
        const response = fromBinary(FollowResponseSchema, new Uint8Array(data as ArrayBuffer));
        // The error of the whole call is of no target. The server closes the socket after it.
        if (response.ref === 0n && response.what.case === "error") end(fromStatus(response.what.value));
        else arrived.push(response);
        wake();
      } catch (error) {
        end(error);
      }
    };
    socket.onerror = () => end(unavailable("the WebSocket failed"));
    socket.onclose = ({ code, reason }) => {
      end(code === 1000 ? undefined : unavailable(`the WebSocket was closed: ${reason || code}`));
    };
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
    try {
      for (;;) {
        const next = arrived.shift();
        if (next) yield next;
        else if (ended) break;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
      if (ended && "error" in ended) throw ended.error;
    } finally {
      clearTimeout(openTimer);
      signal.removeEventListener("abort", aborted);
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close();
    }
  };
}

/** Tries `first`; where that has never worked, `second`; and keeps to the first one of them that works. */
export function firstThatWorks(first: FollowSource, second: FollowSource): FollowSource {
  let works: FollowSource | undefined;
  async function* by(source: FollowSource, ...[request, options]: Parameters<FollowSource>) {
    for await (const response of source(request, options)) {
      works ??= source;
      yield response;
    }
  }
  return async function* follow(request, options) {
    if (works) {
      yield* works(request, options);
      return;
    }
    let reached = false;
    const opened = () => {
      reached = true;
      options.opened();
    };
    try {
      yield* by(first, request, { ...options, opened });
      return;
    } catch (error) {
      if (reached || options.signal.aborted) throw error;
    }
    yield* by(second, request, options);
  };
}

function unavailable(message: string): MidstreamError {
  return new MidstreamError(message, { code: "UNAVAILABLE" });
}
