/** Tasks: named async functions that a worker executes. */

import type { Duration } from "../duration.js";
import type { TaskContext } from "./engine/context.js";

export interface TaskOptions<P, R> {
  /** The task's name: 1 to 128 letters, digits, ".", "_" or "-". */
  readonly id: string;
  readonly run: (payload: P, ctx: TaskContext) => Promise<R> | R;
  /** How long a run that only waits keeps its process. Unset: as the worker says, 5 s by default. */
  readonly idleTimeout?: Duration;
}

/** A task's declaration. */
export interface Task<P, R> extends TaskOptions<P, R> {
  readonly kind: "task";
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Declares a task. A worker finds it where a module exports it. */
export function task<P = undefined, R = void>(options: TaskOptions<P, R>): Task<P, R> {
  if (!ID.test(options.id)) {
    throw new TypeError(
      `${JSON.stringify(options.id)} cannot name a task: use 1 to 128 letters, digits, ".", "_" or "-", and begin with a letter or digit`,
    );
  }
  return { ...options, kind: "task" };
}

/** Any task, whatever it takes and returns. */
export type AnyTask = Task<never, unknown>;

export function isTask(value: unknown): value is AnyTask {
  return typeof value === "object" && value !== null && (value as Partial<AnyTask>).kind === "task";
}
