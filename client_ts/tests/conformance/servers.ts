/** The servers that the vectors run against, as `python -m support.conformance.serve` starts them. */

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Variables } from "./vector.js";

export const STORES = ["sqlite", "postgres"] as const;

/** A server, and the variables that stand for its API keys. */
export interface PlayedServer {
  readonly url: string;
  readonly webUrl: string;
  readonly variables: Variables;
}

export interface Servers {
  readonly kinds: Readonly<Record<string, PlayedServer>>;
  /** Does something to the server of the kind `own`: `drain`, `kill` or `start`. */
  own(command: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server of each kind on the store; they end with this process. */
export async function startServers(store: (typeof STORES)[number]): Promise<Servers> {
  const tests = fileURLToPath(new URL("../../../tests", import.meta.url));
  const searched = [tests, process.env["PYTHONPATH"]].filter((each) => each !== undefined).join(path.delimiter);
  const child = spawn(python(), ["-m", "support.conformance.serve", store], {
    env: { ...process.env, PYTHONPATH: searched },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`the servers ended with ${String(code)}`)),
    );
  });
  ended.catch(() => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const line = await lines.next();
    if (line.done) await ended;
    return String(line.value);
  };
  const kinds = JSON.parse(await answer()) as Record<string, PlayedServer>;
  return {
    kinds,
    async own(command) {
      child.stdin.write(`${command}\n`);
      await answer();
    },
    async stop() {
      child.stdin.end();
      await ended;
    },
  };
}

/** The one that the server is installed for. */
function python(): string {
  const server = process.env["MIDSTREAM_SERVER"]?.split(/\s+/)[0] ?? "";
  const beside = path.join(path.dirname(server), "python");
  return server.includes(path.sep) && existsSync(beside) ? beside : "python3";
}
