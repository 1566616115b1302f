/** A worker whose runs are threads, from its start until it is stopped. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ulid } from "../../random-key.js";
import { ThreadPool } from "../pool/pool.js";
import { connectWorker } from "./connect-worker.js";
import { pushSchemas } from "./push-schemas.js";
import type { Report } from "./report.js";

export interface RunWorkerOptions {
  /** URLs of the modules that export tasks. */
  readonly modules: readonly string[];
  readonly url: string;
  readonly apiKey?: string | undefined;
  readonly workerId?: string | undefined;
  /** How many runs at once. */
  readonly credit: number;
  /** Warm threads kept ready. */
  readonly spares: number;
  /** Unset: as the task says. */
  readonly idleTimeoutMs: number | undefined;
  readonly drainTimeoutMs: number;
  /** Real I/O outside a step fails a run, instead of being reported once. */
  readonly strict: boolean;
  /** First registers the types of the streams that the modules declare. */
  readonly pushSchemas: boolean;
  readonly report: Report;
  /** Resolves when the worker is to drain, and once more when it is to stop at once. */
  readonly stopRequested: () => Promise<void>;
}

/** Resolves when the worker has stopped. Rejects where the modules cannot be loaded or the server refuses the worker. */
export async function runWorker(options: RunWorkerOptions): Promise<void> {
  const { modules, url, report, credit, idleTimeoutMs, strict, spares } = options;
  const pool = new ThreadPool({ modules, idleTimeoutMs, strict, describeStreams: options.pushSchemas }, spares);
  let disconnect = (): void => undefined;
  try {
    const { tasks: names, schemas } = await pool.start();
    const version = process.env["MIDSTREAM_CODE_VERSION"] || versionOf(modules);
    const workerId = options.workerId || `worker_${ulid()}`;
    if (options.pushSchemas) await pushSchemas(schemas, options);
    report({ event: "worker_started", url, worker_id: workerId, tasks: names, credit });
    const tasks = new Map(names.map((name) => [name, version]));
    const { worker, close } = connectWorker({
      url,
      apiKey: options.apiKey,
      workerId,
      take: () => pool.take(),
      report,
      tasks,
      credit,
    });
    disconnect = close;
    const serving = worker.run();
    const first = await Promise.race([serving.then(() => "ended" as const), options.stopRequested()]);
    if (first !== "ended") {
      await Promise.race([worker.drain(options.drainTimeoutMs), options.stopRequested()]);
      await worker.stop();
    }
    await serving;
  } finally {
    await pool.close();
    disconnect();
    report({ event: "worker_stopped" });
  }
}

/** Of the modules' own text: what they import is not looked at. */
function versionOf(modules: readonly string[]): string {
  const hash = createHash("sha256");
  for (const module of modules) hash.update(readFileSync(fileURLToPath(module)));
  return hash.digest("hex").slice(0, 12);
}
