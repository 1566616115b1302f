import { type Client, connect } from "@midstream/client";
import { type Entry, enterRun, startRun } from "./backend";

/** A run that the page shows. */
export type Session = { runId: string; client: Client; accessToken: () => Promise<string> };

let client: Client | undefined;

export async function startSession(topic: string): Promise<Session> {
  return session(await startRun(topic));
}

export async function enterSession(runId: string): Promise<Session> {
  return session(await enterRun(runId));
}

/** The client asks for a token when it needs one: the first one is here already, later ones come from the backend. */
function session(entry: Entry): Session {
  let first: string | undefined = entry.access_token;
  client ??= connect({ url: entry.midstream_url });
  return {
    runId: entry.run_id,
    client,
    async accessToken() {
      const token = first ?? (await enterRun(entry.run_id)).access_token;
      first = undefined;
      return token;
    },
  };
}
