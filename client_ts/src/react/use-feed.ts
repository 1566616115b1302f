import { useEffect, useSyncExternalStore } from "react";
import type { Credential } from "./credential.js";
import type { Feed, Followed } from "./feed.js";

/** Follows a feed while the component is mounted. On a server, and while hydrating, it shows the feed's beginning. */
export function useFeed<State extends Followed>(feed: Feed<State>, credential: Credential, beginning: State): State {
  // Declared before the subscription, which then opens with the newest token.
  useEffect(() => feed.authorize(credential), [feed, credential]);
  return useSyncExternalStore(feed.state.subscribe, feed.state.get, () => beginning);
}
