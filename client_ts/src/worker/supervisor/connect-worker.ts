import { platform } from "#platform";
import { createCalls } from "../../calls.js";
import { fixedCredentials } from "../../credentials.js";
import { ulid } from "../../random-key.js";
import { Worker, type WorkerOptions } from "./worker.js";

/** A run's own calls are made until they succeed; longer than this no timer of Node's goes much. */
const CALL_TIMEOUT_MS = 7 * 24 * 3_600_000;

export interface ConnectWorkerOptions extends Pick<WorkerOptions, "url" | "take" | "report" | "tasks" | "credit"> {
  readonly apiKey?: string | undefined;
  readonly workerId?: string | undefined;
}

/** A worker for the server at `url`, which runs when it is told to; and what closes its connection. */
export function connectWorker(options: ConnectWorkerOptions): { worker: Worker; close: () => void } {
  const link = platform.link(options.url);
  const closed = new AbortController();
  const credentials = fixedCredentials(options.apiKey);
  const calls = createCalls({
    transport: link.transport,
    timeoutMs: CALL_TIMEOUT_MS,
    credentialsOf: () => credentials,
    closed: closed.signal,
  });
  const workerId = options.workerId || `worker_${ulid()}`;
  const worker = new Worker({ ...options, transport: link.transport, credentials, calls, workerId });
  return {
    worker,
    close: () => {
      closed.abort();
      link.close();
    },
  };
}
