import type { AccessToken } from "../credentials.js";

/**
 * An access token as a hook takes it: the token, a function that fetches one (asked again when it expires), `null` while
 * there is none yet, `undefined` for the client's own.
 */
export type Credential = AccessToken | null | undefined;

/** The newest token that a hook was given, for whatever lasts longer than a render. */
export interface CurrentCredential {
  /** What to hand to the client. */
  readonly get: () => AccessToken | undefined;
  /** True where what `get` gives has changed: never for one function after another. */
  readonly set: (next: Credential) => boolean;
}

type Fetch = () => string | Promise<string>;

/**
 * Makes credentials. A function written inline is another one in each render, so the client gets one that stays the same
 * and asks the newest. Those that began with the same function share it, and so the client fetches their token once.
 */
export function createCredentials(): () => CurrentCredential {
  const askers = new WeakMap<Fetch, { newest: Fetch; ask: Fetch }>();

  function askerFor(first: Fetch) {
    const known = askers.get(first);
    if (known !== undefined) return known;
    const asker = { newest: first, ask: () => asker.newest() };
    askers.set(first, asker);
    return asker;
  }

  return () => {
    let asker: ReturnType<typeof askerFor> | undefined;
    let fixed: string | undefined;
    const get = () => asker?.ask ?? fixed;
    return {
      get,
      set(next) {
        const before = get();
        if (typeof next === "function") {
          asker ??= askerFor(next);
          asker.newest = next;
        } else {
          asker = undefined;
          fixed = next ?? undefined;
        }
        return get() !== before;
      },
    };
  };
}
