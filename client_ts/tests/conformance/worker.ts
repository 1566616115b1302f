/** A real `midstream worker`, as built in dist. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Worker {
  stop(): Promise<void>;
}

/** Resolves when it takes runs. */
export async function startWorker(url: string, module: string): Promise<Worker> {
  const command = fileURLToPath(new URL("../../dist/worker/cli/main.js", import.meta.url));
  const child = spawn(process.execPath, [command, "worker", "--url", url, "--json", module], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the worker ended with ${String(code)}; is dist built?`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.includes('"connected"')) resolve();
    });
  });
  return {
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
