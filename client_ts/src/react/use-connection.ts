import { useCallback, useSyncExternalStore } from "react";
import type { ConnectionState } from "../follow/connection.js";
import { useMidstream } from "./provider.js";

/** How the page's one subscription stands: `retrying` while it is cut off. Sending does not depend on it. */
export function useConnection(): ConnectionState {
  const { connection } = useMidstream();
  const subscribe = useCallback((listener: () => void) => connection.subscribe(listener), [connection]);
  return useSyncExternalStore(
    subscribe,
    () => connection.state,
    () => "idle",
  );
}
