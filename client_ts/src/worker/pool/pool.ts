/** Threads for runs: a few are kept warm, since starting one takes longer than most turns. */

import { Worker } from "node:worker_threads";
import type { Executor, Listener } from "./executor.js";
import type { FromThread, ThreadData, ToThread } from "./messages.js";

/** A thread that executes one run, and is then ended. */
export class RunThread implements Executor {
  private listener: Listener | undefined;
  private readonly unheard: FromThread[] = [];
  private ended: string | undefined;
  private killed = false;
  private readonly worker: Worker;

  constructor(
    data: ThreadData,
    ready: (tasks: readonly string[], schemas: Uint8Array) => void,
    failed: (message: string) => void,
  ) {
    this.worker = new Worker(new URL("./thread.js", import.meta.url), { workerData: data, name: "run" });
    this.worker.on("message", (message: FromThread) => {
      if (message.kind === "ready") ready(message.tasks, message.schemas);
      else if (message.kind === "failed") this.end(message.message, failed);
      else if (this.listener === undefined) this.unheard.push(message);
      else this.listener.said(message);
    });
    this.worker.on("error", (error: Error) => {
      this.ended ??= error.stack ?? error.message;
    });
    this.worker.on("exit", (code) => {
      this.end(this.ended ?? `its thread ended with code ${code}`, failed);
    });
  }

  private end(how: string, failed: (message: string) => void): void {
    if (this.killed) return;
    this.killed = true;
    if (this.listener === undefined) failed(how);
    else this.listener.died(how);
  }

  begin(listener: Listener): void {
    this.listener = listener;
    for (const message of this.unheard.splice(0)) listener.said(message);
  }

  deliver(message: ToThread): void {
    this.worker.postMessage(message);
  }

  kill(): Promise<unknown> {
    this.killed = true;
    this.listener = undefined;
    return this.worker.terminate();
  }
}

/** Keeps `spares` threads warm; makes others where more runs begin at once. */
export class ThreadPool {
  private readonly warm: RunThread[] = [];
  private starting = 0;
  private closed = false;
  private firstTasks: readonly string[] | undefined;
  private schemas = new Uint8Array();
  private failure: Error | undefined;
  private settleStart: (() => void) | undefined;

  constructor(
    private readonly data: ThreadData,
    private readonly spares: number,
  ) {}

  /** Resolves to the names of the tasks, and what to register. Rejects where the modules cannot be loaded. */
  async start(): Promise<{ readonly tasks: readonly string[]; readonly schemas: Uint8Array }> {
    const settled = new Promise<void>((resolve) => {
      this.settleStart = resolve;
    });
    this.make();
    await settled;
    if (this.failure !== undefined) throw this.failure;
    this.refill();
    return { tasks: this.firstTasks ?? [], schemas: this.schemas };
  }

  take(): RunThread {
    const thread = this.warm.shift() ?? this.make(false);
    // Once its run is under way: a start takes both cores' time.
    setImmediate(() => this.refill());
    return thread;
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.warm.splice(0).map((thread) => thread.kill()));
  }

  private refill(): void {
    if (this.failure !== undefined) return;
    while (!this.closed && this.warm.length + this.starting < this.spares) this.make();
  }

  private make(spare = true): RunThread {
    if (spare) this.starting += 1;
    const over = (): void => {
      if (spare) this.starting -= 1;
      spare = false;
      this.settleStart?.();
    };
    const thread = new RunThread(
      this.data,
      (tasks, schemas) => {
        if (this.firstTasks === undefined) this.schemas = Uint8Array.from(schemas);
        this.firstTasks ??= tasks;
        if (spare) {
          if (this.closed) void thread.kill();
          else this.warm.push(thread);
        }
        over();
      },
      (message) => {
        const place = this.warm.indexOf(thread);
        if (place >= 0) this.warm.splice(place, 1);
        if (this.firstTasks === undefined) this.failure ??= new Error(message);
        over();
      },
    );
    return thread;
  }
}
