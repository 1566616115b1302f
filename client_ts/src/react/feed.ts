import type { AccessToken } from "../credentials.js";
import type { MidstreamError } from "../error.js";
import type { Credential, CurrentCredential } from "./credential.js";
import { createStore, type Store } from "./store.js";

/** How following goes: there is nothing to follow yet; it is followed; the run has ended; it was refused. */
export type FollowStatus = "idle" | "open" | "ended" | "failed";

/** What every feed's state has. */
export interface Followed {
  readonly status: FollowStatus;
  /** Why it was refused; undefined unless `status` is `failed`. */
  readonly error: MidstreamError | undefined;
}

/** Something that is followed for as long as a component looks at it. */
export interface Feed<State extends Followed> {
  readonly state: Pick<Store<State>, "get" | "subscribe">;
  /** Takes the newest token; another one is used at once, from where the feed had got to. */
  readonly authorize: (credential: Credential) => void;
  /** Tries again after a refusal, from where it had got to. */
  readonly retry: () => void;
}

/** Where a subscription reports. Nothing counts any more once it is closed. */
export interface Reports<State extends Followed> {
  readonly update: (change: (state: State) => State) => void;
  readonly onEnd: () => void;
  readonly onError: (error: MidstreamError) => void;
}

/** Subscribes, with what is known so far to go on from. */
export type Follow<State extends Followed> = (
  state: State,
  accessToken: AccessToken | undefined,
  reports: Reports<State>,
) => { close(): void };

/**
 * Makes a feed. It follows while its state has a listener; when it is heard again it goes on where it was, and what has
 * ended is not asked for again.
 */
export function createFeed<State extends Followed>(
  initial: State,
  credential: CurrentCredential,
  follow: Follow<State>,
  onClose: () => void,
): Feed<State> {
  let heard = false;
  let subscription: { close(): void } | undefined;
  let generation = 0;

  const state = createStore<State>(initial, () => {
    heard = true;
    start();
    return () => {
      heard = false;
      stop();
      onClose();
    };
  });

  function start(): void {
    if (!heard || subscription !== undefined || state.get().status === "ended") return;
    const own = ++generation;
    const update = (change: (state: State) => State) => {
      if (own === generation) state.set(change(state.get()));
    };
    const over = (end: Followed) => {
      update((last) => ({ ...last, ...end }));
      if (own === generation) stop();
    };
    if (state.get().status !== "open") update((last) => ({ ...last, status: "open", error: undefined }));
    const opened = follow(state.get(), credential.get(), {
      update,
      onEnd: () => over({ status: "ended", error: undefined }),
      onError: (error) => over({ status: "failed", error }),
    });
    if (own === generation) subscription = opened;
    else opened.close();
  }

  function stop(): void {
    generation++;
    subscription?.close();
    subscription = undefined;
  }

  return {
    state,
    authorize(next) {
      if (!credential.set(next)) return;
      stop();
      start();
    },
    retry() {
      if (state.get().status === "failed") start();
    },
  };
}

/** A feed for hooks that do not know yet what to follow. */
export function idleFeed<State extends Followed>(initial: State): Feed<State> {
  return {
    state: { get: () => initial, subscribe: () => () => {} },
    authorize: () => {},
    retry: () => {},
  };
}
