import type { Duration } from "../duration.js";
import type { Task } from "../worker/task.js";
import type { LocalServer } from "./local-server.js";

export interface InProcessWorkerOptions {
  /** One of `localServer`, whose clock the worker shares, or the `grpc://` URL of another. */
  readonly server: LocalServer | string;
  readonly tasks: readonly Task<never, unknown>[];
  /** How long a run that waits stays as it is, whatever its task says. Unset: not at all. */
  readonly idleTimeout?: Duration;
  /**
   * Suspends each run at every chance and rebuilds it from its log, whatever `idleTimeout` says. A task that gives another
   * result with it has effects outside its memory that belong in steps.
   */
  readonly alwaysSuspend?: boolean;
  readonly apiKey?: string | undefined;
}

export interface InProcessWorker {
  /** How often a run was suspended so far. */
  readonly suspensions: number;
  /** Lets go of its runs. Resolves when nothing of theirs is under way. */
  stop(): Promise<void>;
}

/**
 * Executes runs of `tasks` in this process, without a thread for each: for tests. Resolves when the server knows it.
 *
 * The process's clock, timers and dice show a task's code those of its log from now on, and everybody else their own. A
 * task that does real I/O outside a step fails. Node only.
 */
export async function inProcessWorker(options: InProcessWorkerOptions): Promise<InProcessWorker> {
  // Tests of components in a browser, which need none of this, import this entry too.
  const { startInProcess } = await import("../worker/supervisor/in-process.js");
  const { server, tasks, apiKey, idleTimeout = "0s", alwaysSuspend = false } = options;
  const url = typeof server === "string" ? server : server.url;
  const clock = typeof server === "string" ? undefined : server.clock;
  return startInProcess({ url, apiKey, tasks, clock, idleTimeout: alwaysSuspend ? "0s" : idleTimeout });
}
