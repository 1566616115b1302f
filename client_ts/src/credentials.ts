import { MidstreamError } from "./error.js";

/** An access token, or what fetches one: it is asked again when the one before has expired. */
export type AccessToken = string | (() => string | Promise<string>);

/** Where a call's credentials come from. */
export interface Credentials {
  /** The API key or token to send along; undefined: none. Throws MidstreamError. */
  get(): Promise<string | undefined>;
  /** The server says that this one has expired. True: the next `get` fetches another one. */
  discard(expired: string | undefined): boolean;
}

/** A token is fetched anew so long before it expires. */
const EARLY_MS = 30_000;

/** Credentials that never change. */
export function fixedCredentials(secret: string | undefined): Credentials {
  return { get: async () => secret, discard: () => false };
}

/** Credentials by a callback, which is not called again while its token is good, nor twice at a time. */
export function fetchedCredentials(fetchToken: () => string | Promise<string>): Credentials {
  let cached: string | undefined;
  let fetching: Promise<string> | undefined;

  async function fetch(): Promise<string> {
    try {
      const token = await fetchToken();
      if (typeof token !== "string" || token === "") throw new TypeError(`it returned ${JSON.stringify(token)}`);
      cached = token;
      return token;
    } catch (cause) {
      if (cause instanceof MidstreamError) throw cause;
      const message = `the accessToken callback failed: ${cause instanceof Error ? cause.message : String(cause)}`;
      // `fetch` throws a TypeError where the network is down: that passes.
      throw new MidstreamError(message, { code: isNetworkError(cause) ? "UNAVAILABLE" : "UNAUTHENTICATED", cause });
    } finally {
      fetching = undefined;
    }
  }

  return {
    async get() {
      if (cached !== undefined && !expiresSoon(cached)) return cached;
      fetching ??= fetch();
      return fetching;
    },
    discard(expired) {
      if (cached === expired) cached = undefined;
      return true;
    },
  };
}

/** Finds the credentials for an `accessToken` argument: the same callback always gets the same ones. */
export function createWallet(own: Credentials): (accessToken?: AccessToken) => Credentials {
  const byCallback = new WeakMap<() => string | Promise<string>, Credentials>();
  return (accessToken) => {
    if (accessToken === undefined) return own;
    if (typeof accessToken === "string") return fixedCredentials(accessToken);
    let credentials = byCallback.get(accessToken);
    if (!credentials) {
      credentials = fetchedCredentials(accessToken);
      byCallback.set(accessToken, credentials);
    }
    return credentials;
  };
}

/** Whether a token's `exp` is past or near. What is no JSON Web Token never expires here; the server knows better. */
export function expiresSoon(token: string, nowMs: number = Date.now()): boolean {
  try {
    const claims = token.split(".")[1] ?? "";
    const { exp } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))) as { exp?: unknown };
    return typeof exp === "number" && exp * 1000 - EARLY_MS <= nowMs;
  } catch {
    return false;
  }
}

function isNetworkError(error: unknown): boolean {
  return error instanceof TypeError && /fetch|network|load failed/i.test(error.message);
}
