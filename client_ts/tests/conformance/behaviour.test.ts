/** The behaviours through the TypeScript client and its task runtime, on each store. */

import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadBehaviours, playBehaviour } from "./behaviour.js";
import { Mismatch } from "./match.js";
import { type Servers, startServers, STORES } from "./servers.js";
import { startWorker, type Worker } from "./worker.js";

const behaviours = loadBehaviours();
/** Within the package, so that the worker finds `@midstream/client` as built in dist. */
const built = fileURLToPath(new URL(".built/task.mjs", import.meta.url));

beforeAll(async () => {
  const entry = fileURLToPath(new URL("task.ts", import.meta.url));
  await build({
    entryPoints: [entry],
    outfile: built,
    bundle: true,
    format: "esm",
    external: ["@midstream/client"],
    tsconfigRaw: {},
  });
});
afterAll(() => rmSync(fileURLToPath(new URL(".built", import.meta.url)), { recursive: true }));

describe.each(STORES)("on %s", (store) => {
  let servers: Servers;
  let worker: Worker;
  beforeAll(async () => {
    servers = await startServers(store);
    worker = await startWorker(servers.kinds["open"]?.url ?? "", built);
  }, 180_000);
  afterAll(async () => {
    await worker?.stop();
    await servers?.stop();
  });

  const ours = behaviours.filter(({ stores }) => stores.includes(store));
  it.each(ours.map((behaviour) => [behaviour.name, behaviour] as const))("%s", async (_, behaviour) => {
    const server = servers.kinds[behaviour.server];
    if (!server) throw new Error(`no server is of the kind ${behaviour.server}`);
    if (behaviour.server === "own") await servers.own("start");
    await playBehaviour(behaviour, server, (command) => servers.own(command));
  });

  if (store === "sqlite")
    it("finds what comes otherwise", async () => {
      const server = servers.kinds["open"];
      for (const place of ["attached", "warm"]) {
        const right = behaviours.find(({ name }) => name === `lives/unconsumed/${place}`);
        if (!right || !server) throw new Error("the behaviour to spoil is gone");
        for (const wrong of [
          { ...right, ends: { state: "COMPLETED", unread: { a: 2 } } },
          { ...right, ends: { state: "CANCELLED" } },
          { ...right, run: [{ once: "a", gives: 2 }] },
          { ...right, run: [{ once: "a", fails: "TIMEOUT" }] },
          { ...right, run: [{ together: [{ drain: "a", gives: [1] }] }] },
          { ...right, outside: [{ peek: "b", gives: 4 }] },
        ]) {
          await expect(playBehaviour(wrong, server, (command) => servers.own(command))).rejects.toThrow(Mismatch);
        }
      }
    });
});

it("passes over none", () => {
  expect(new Set(behaviours.map(({ name }) => name)).size).toBe(behaviours.length);
  expect(behaviours.filter(({ stores }) => stores.length === 0)).toEqual([]);
});
