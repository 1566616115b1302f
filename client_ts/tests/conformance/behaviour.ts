/** Behaviour as data, played through the client: see tests/conformance/README.md, *Behaviour*. */

import { setTimeout as sleep } from "node:timers/promises";
import { type AttachedRun, type Client, connect, MidstreamError, type Run, streams, waitAny } from "../../src/index.js";
import { parseDuration } from "../../src/duration.js";
import { differences, Mismatch } from "./match.js";
import { outcomeDifferences, seenOf } from "./outcome.js";
import { playOutside } from "./outside.js";
import { type Operation, type Place, type Played, playScript, type Value } from "./script.js";
import { type PlayedServer, STORES } from "./servers.js";
import { casesOf, filesIn, type Json, type JsonObject, resolve, text } from "./vector.js";

/** One case in one place: `attached`, in a task that stays `warm`, or in one that is suspended at every chance. */
export interface Behaviour {
  readonly name: string;
  readonly why: string;
  readonly place: "attached" | "warm" | "suspending";
  readonly server: string;
  /** On which it is played: one is enough for what the client alone decides. */
  readonly stores: readonly string[];
  readonly records: [string, Value][];
  readonly run: Operation[];
  readonly outside: Operation[];
  readonly ends: JsonObject;
}

const KEYS = new Set(["name", "why", "in", "server", "store", "for_each", "records", "run", "outside", "ends"]);

export function loadBehaviours(): Behaviour[] {
  return filesIn("behaviour").flatMap(([file, raw]) =>
    raw.flatMap((each) => {
      for (const key of Object.keys(each)) {
        if (!KEYS.has(key)) throw new Error(`${file}: ${text(each["name"])}: unknown key ${key}`);
      }
      return casesOf(each).flatMap(([suffix, variables]) => {
        const resolved = (key: string, otherwise: Json) => resolve(each[key] ?? otherwise, variables);
        const run = resolved("run", []) as Operation[];
        const places = resolved("in", ["attached", "warm"]) as string[];
        return places.map((place) => ({
          name: `${file}/${text(each["name"])}${suffix}/${place}`,
          why: text(each["why"]),
          place: place as Behaviour["place"],
          stores: each["store"] === "any" ? STORES.slice(0, 1) : STORES,
          server: text(each["server"] ?? "open"),
          records: resolved("records", []) as [string, Value][],
          run,
          outside: resolved("outside", []) as Operation[],
          ends: { state: "COMPLETED", ...(resolved("ends", {}) as JsonObject) },
        }));
      });
    }),
  );
}

/** Rejects with each difference. */
export async function playBehaviour(
  behaviour: Behaviour,
  server: PlayedServer,
  own: (command: string) => Promise<void>,
): Promise<void> {
  const apiKey = server.variables["apiKey"];
  const client = connect({ url: server.url, ...(apiKey !== undefined && { apiKey: text(apiKey) }) });
  try {
    const runId = await begin(behaviour, client);
    const [played, outside] = await Promise.all([
      behaviour.place === "attached" ? attached(behaviour, client, runId) : watched(client, runId),
      playOutside(behaviour.outside, runId, { client, server, own }),
    ]);
    const lines = [...outside, ...differencesOf(behaviour, await client.getRun(runId), played)];
    if (lines.length > 0) throw new Mismatch([`${behaviour.name} (${behaviour.why})`, ...lines].join("\n"));
  } finally {
    client.close();
  }
}

/** A run with its first records. A managed one begins at once. */
async function begin({ place, run, records }: Behaviour, client: Client): Promise<string> {
  if (place !== "attached") {
    const started = await client.startRun({ task: `conformance-${place}`, payload: { operations: run }, records });
    return started.run.id;
  }
  const id = await client.attach({ task: "conformance-attached" }, (attachedRun) => {
    attachedRun.detach();
    return attachedRun.id;
  });
  for (const [stream, value] of records) await client.send(id, stream, value);
  return id;
}

/** Undefined where the script was cut short. */
async function attached({ run }: Behaviour, client: Client, runId: string): Promise<Played[] | undefined> {
  let played: Played | undefined;
  try {
    await client.attach({ runId }, async (attachedRun) => {
      played = await playScript(run, inAttachedRun(client, attachedRun));
      return "played";
    });
  } catch (error) {
    if (!(error instanceof MidstreamError && error.code === "CANCELLED" && error.reason === "")) throw error;
    return undefined;
  }
  return played && [played];
}

async function watched(client: Client, runId: string): Promise<Played[] | undefined> {
  for await (const run of client.watchRun(runId)) {
    if (run.isFinal) return Array.isArray(run.result) ? (run.result as Played[]) : undefined;
  }
  throw new Error("the run ended without a final state");
}

/** Between what came of the run and what was to come of it. */
function differencesOf(behaviour: Behaviour, run: Run, played: Played[] | undefined): string[] {
  if (run.state === "FAILED" && behaviour.ends["state"] !== "FAILED") {
    return [`the run failed: ${JSON.stringify(run.failure)}`];
  }
  const lines = differences(behaviour.ends, seenOf(run), "run");
  if (played === undefined) {
    return behaviour.ends["state"] === "COMPLETED" ? [...lines, "the script was cut short"] : lines;
  }
  const generations: Operation[][] = [[]];
  for (const operation of behaviour.run) {
    if ("restart" in operation) generations.push([]);
    else generations.at(-1)?.push(operation);
  }
  if (generations.length !== played.length) {
    return [...lines, `${played.length} generations, expected ${generations.length}`];
  }
  for (const [number, operations] of generations.entries()) {
    const one = played[number];
    for (const [index, operation] of operations.entries()) {
      lines.push(...outcomeDifferences(operation, one?.outcomes[index], `generation ${number}, run[${index}]`));
    }
    // What a handler hears after its last `heard` counts, too.
    for (const { heard, gives, in_all: inAll } of flat(operations)) {
      if (heard === undefined || inAll === false) continue;
      lines.push(...differences(gives ?? null, one?.heard[text(heard)], `heard by ${text(heard)} in all`));
    }
  }
  return lines;
}

/** The operations with those inside them. */
function flat(operations: Operation[]): Operation[] {
  return operations.flatMap((operation) => [
    operation,
    ...["sequence", "together"].flatMap((kind) => flat((operation[kind] ?? []) as Operation[])),
  ]);
}

function inAttachedRun(client: Client, run: AttachedRun): Place {
  return {
    patient: true,
    signal: run.signal,
    input: (id) => streams.input<Value>({ id }),
    waitAny: (all, options) => waitAny(all, options),
    send: (stream, value, key) => client.send(run.id, stream, value, { key }),
    async output(stream, value) {
      await run.output(stream).append(value);
    },
    sleep: (duration) => sleep(parseDuration(duration)),
    step: () => Promise.reject(new Error("an attached run has no steps")),
  };
}
