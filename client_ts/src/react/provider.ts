import { createContext, createElement, type ReactElement, type ReactNode, useContext, useMemo } from "react";
import type { Client } from "../client.js";
import { createHub, type Hub } from "./hub.js";

const HubContext = createContext<Hub | undefined>(undefined);

/** What the provider takes. */
export interface MidstreamProviderProps {
  /** From `connect`. Keep one for the whole page: all that is followed through it shares one subscription. */
  readonly client: Client;
  readonly children?: ReactNode;
}

/** Gives the hooks below it a client. It neither opens the client nor closes it. */
export function MidstreamProvider({ client, children }: MidstreamProviderProps): ReactElement {
  const hub = useMemo(() => createHub(client), [client]);
  return createElement(HubContext.Provider, { value: hub }, children);
}

/** The provider's client. Throws where there is no provider. */
export function useMidstream(): Client {
  return useHub().client;
}

export function useHub(): Hub {
  const hub = useContext(HubContext);
  if (hub === undefined) {
    throw new Error("There is no Midstream client here: put a <MidstreamProvider client={...}> around this component.");
  }
  return hub;
}
