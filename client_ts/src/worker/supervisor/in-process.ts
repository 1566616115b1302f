/** A worker whose runs share its process: for tests. */

import { createHash } from "node:crypto";
import { type Duration, parseDuration } from "../../duration.js";
import { outsideScopes } from "../engine/scope.js";
import { type Clock, systemClock } from "../host/clock.js";
import type { Executor, Listener } from "../pool/executor.js";
import { Inside, type InsideOptions } from "../pool/inside.js";
import type { FromThread, ToThread } from "../pool/messages.js";
import { installRunGlobals } from "../realm/globals.js";
import { watchForTrespass } from "../realm/trespass.js";
import type { AnyTask } from "../task.js";
import { connectWorker } from "./connect-worker.js";
import type { WorkerEvent } from "./report.js";

const CREDIT = 1_000;

export interface StartInProcessOptions {
  readonly url: string;
  readonly apiKey?: string | undefined;
  readonly tasks: readonly AnyTask[];
  /** Unset: the system's. */
  readonly clock?: Clock | undefined;
  readonly idleTimeout: Duration;
}

/** Resolves when the server knows the worker. Rejects with MidstreamError where it refuses it. */
export async function startInProcess({ url, apiKey, tasks, clock, idleTimeout }: StartInProcessOptions) {
  if (tasks.length === 0) throw new TypeError("name the tasks that the worker is to execute: tasks: [myTask]");
  const idleTimeoutMs = parseDuration(idleTimeout);
  installRunGlobals();
  watchForTrespass({ fails: true, report: () => undefined });
  let suspensions = 0;
  let connected = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    connected = resolve;
  });
  const report = (event: WorkerEvent): void => {
    if (event.event === "connected") connected();
    else if (event.event === "run_suspended") suspensions += 1;
    else if (event.event === "run_died") console.error(`run ${event.run_id} of task "${event.task}": ${event.how}`);
  };
  const inside: Omit<InsideOptions, "tell"> = {
    tasks: new Map(tasks.map((task) => [task.id, task])),
    clock: clock ?? systemClock,
    idleTimeoutMs: () => idleTimeoutMs,
    report: (_runId, text, error) => console.error(text, error),
  };
  const { worker, close } = connectWorker({
    url,
    apiKey,
    take: () => new InProcessExecutor(inside),
    report,
    tasks: new Map(tasks.map((task) => [task.id, versionOf(task)])),
    credit: CREDIT,
  });
  const serving = worker.run();
  // Whoever starts the worker hears of it; after that it ends by `stop` alone.
  serving.catch(() => undefined);
  try {
    await Promise.race([opened, serving]);
  } catch (error) {
    close();
    throw error;
  }
  return {
    get suspensions() {
      return suspensions;
    },
    async stop() {
      await worker.stop();
      await serving;
      close();
    },
  };
}

/** Executes one run beside others. Messages come in a turn of the event loop of their own, as from a thread. */
class InProcessExecutor implements Executor {
  private readonly inside: Inside;
  private listener: Listener | undefined;
  private killed = false;

  constructor(options: Omit<InsideOptions, "tell">) {
    this.inside = new Inside({ ...options, tell: (message) => this.tell(message) });
  }

  begin(listener: Listener): void {
    this.listener = listener;
  }

  deliver(message: ToThread): void {
    soon(() => {
      if (this.killed) return;
      try {
        this.inside.receive(message);
      } catch (error) {
        this.listener?.died(error instanceof Error ? (error.stack ?? error.message) : String(error));
      }
    });
  }

  kill(): Promise<void> {
    this.killed = true;
    this.inside.close();
    return Promise.resolve();
  }

  private tell(message: FromThread): void {
    soon(() => {
      if (!this.killed) this.listener?.said(message);
    });
  }
}

/** What is done for a run is not the run's own code. */
function soon(call: () => void): void {
  outsideScopes(() => setImmediate(call));
}

function versionOf(task: AnyTask): string {
  return createHash("sha256").update(String(task.run)).digest("hex").slice(0, 12);
}
