/** What somebody else does to a run while it plays its script, through the client. */

import { type Client, connect, type IssuedToken, MidstreamError, type Scope } from "../../src/index.js";
import { differences } from "./match.js";
import { outcomeDifferences, seenOf } from "./outcome.js";
import { errorName, NOTHING, type Operation, type Outcome, type Value } from "./script.js";
import type { PlayedServer } from "./servers.js";
import { text } from "./vector.js";

export interface Surroundings {
  client: Client;
  server: PlayedServer;
  /** Does something to the server. */
  own: (command: string) => Promise<void>;
}

/** Resolves to the differences. */
export async function playOutside(
  operations: readonly Operation[],
  runId: string,
  { client, server, own }: Surroundings,
): Promise<string[]> {
  const tokens = new Map<string, IssuedToken>();
  const pages = new Map<string, Client>();
  const found: string[] = [];

  function callerOf({ as }: Operation): Client {
    if (as === undefined) return client;
    const page = pages.get(text(as)) ?? connect({ url: server.url, accessToken: tokens.get(text(as))?.token });
    pages.set(text(as), page);
    return page;
  }

  async function outcome(operation: Operation): Promise<Outcome> {
    try {
      return { gives: (await act(operation, callerOf(operation))) ?? null };
    } catch (error) {
      if (!(error instanceof MidstreamError)) throw error;
      return { fails: errorName(error) };
    }
  }

  async function act(operation: Operation, caller: Client): Promise<Value | undefined> {
    const id = operation["to"] === undefined ? runId : text(operation["to"]);
    const [what = ""] = Object.keys(operation);
    const name = text(operation[what]);
    switch (what) {
      case "send": {
        const key = operation["key"] === undefined ? {} : { key: text(operation["key"]) };
        const { seq, deduplicated } = await caller.send(id, name, operation["value"], key);
        return { seq, deduplicated };
      }
      case "send_many": {
        const results = await caller.sendMany(id, name, operation["values"] as Value[]);
        return results.map((result) => (result.ok ? result.receipt.seq : errorName(result.error)));
      }
      case "until":
        return until(operation["until"] as Operation);
      case "cancel_run":
        await caller.cancelRun(id);
        return undefined;
      case "peek": {
        const record = await caller.peek(id, name);
        return record === undefined ? NOTHING : (record.value as Value);
      }
      case "list":
        return first(caller.listRecords(id, { stream: name }), Infinity);
      case "senders": {
        const senders: Value[] = [];
        for await (const { sender } of caller.listRecords(id, { stream: name })) senders.push(sender.subject);
        return senders;
      }
      case "tail":
        return first(caller.tail(id, { stream: name }), (operation["gives"] as Value[]).length);
      case "read_output":
        return first(caller.tail(id, { stream: name, direction: "output" }), (operation["gives"] as Value[]).length);
      case "mint": {
        const scopes = (operation["mint"] as Operation[]).map(scope);
        const { subject, max_uses: maxUses } = operation as { subject?: string; max_uses?: number };
        tokens.set(text(operation["as_token"]), await caller.mintToken({ scopes, subject, maxUses }));
        return undefined;
      }
      case "revoke": {
        const token = tokens.get(name);
        await caller.revokeToken(token?.tokenId ?? "", { expireTime: token?.expireTime });
        return undefined;
      }
      case "server":
        await own(name);
        return undefined;
      default:
        throw new SyntaxError(`no operation: ${JSON.stringify(operation)}`);
    }
  }

  async function until(expected: Operation): Promise<undefined> {
    for await (const run of client.watchRun(runId)) {
      if (differences(expected, seenOf(run), "run").length === 0) return;
    }
    found.push(`the run ended without having been ${JSON.stringify(expected)}`);
  }

  function scope(given: Operation): Scope {
    if ("send" in given) return { action: "send", runId, stream: text(given["send"]) };
    if ("read" in given) return { action: "read", runId };
    if ("cancel" in given) return { action: "cancel", runId };
    throw new SyntaxError(`no scope: ${JSON.stringify(given)}`);
  }

  try {
    for (const [index, operation] of operations.entries()) {
      found.push(...outcomeDifferences(operation, await outcome(operation), `outside[${index}]`));
    }
  } finally {
    for (const page of pages.values()) page.close();
  }
  return found;
}

/** The values of the first so many records. */
async function first(records: AsyncIterable<{ value: unknown }>, count: number): Promise<Value[]> {
  const values: Value[] = [];
  for await (const { value } of records) {
    values.push(value as Value);
    if (values.length === count) break;
  }
  return values;
}
