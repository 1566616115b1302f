import { followByStream } from "../follow/source.js";
import { firstThatWorks, followByWebSocket } from "../follow/web-socket.js";
import { createFetchTransport } from "../transport/fetch.js";
import type { Platform } from "./platform.js";

/** Browsers, and whatever else has `fetch`: Connect, and a WebSocket to follow by. */
export const platform: Platform = {
  link(url) {
    const baseUrl = address(url);
    const transport = createFetchTransport(baseUrl);
    const byStream = followByStream(transport);
    const follow = typeof WebSocket === "undefined" ? byStream : firstThatWorks(followByWebSocket(baseUrl), byStream);
    return { transport, duplex: false, follow, close: () => {} };
  },

  onWake(woke) {
    if (typeof document === "undefined") return () => {};
    const visible = () => {
      if (document.visibilityState === "visible") woke();
    };
    window.addEventListener("online", woke);
    document.addEventListener("visibilitychange", visible);
    return () => {
      window.removeEventListener("online", woke);
      document.removeEventListener("visibilitychange", visible);
    };
  },
};

/** Absolute, without a slash at the end. A path alone stands for one of the page's own origin. */
function address(url: string | undefined): string {
  const page = typeof location === "undefined" ? undefined : location.href;
  let parsed: URL;
  try {
    parsed = new URL(url ?? "/", page);
  } catch {
    throw new TypeError(`cannot use ${JSON.stringify(url)} as a server's URL; write http://host:port or https://host`);
  }
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") {
    throw new TypeError(
      `cannot use ${JSON.stringify(url)} here: browsers have no gRPC; give the address of the server's web listener, such as http://127.0.0.1:7780`,
    );
  }
  return parsed.origin + parsed.pathname.replace(/\/+$/, "");
}
