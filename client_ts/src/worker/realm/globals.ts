/** The globals that differ from process to process: in a task's code they come from its log. */

import { syncBuiltinESMExports } from "node:module";
import timersModule from "node:timers";
import timersPromises from "node:timers/promises";
import { AsyncResource } from "node:async_hooks";
import type { Execution } from "../engine/execution.js";
import { currentExecution } from "../engine/scope.js";

type Callback = (...args: unknown[]) => void;

const real = {
  Date: globalThis.Date,
  random: Math.random,
  performanceNow: performance.now.bind(performance),
  setTimeout: globalThis.setTimeout,
  setInterval: globalThis.setInterval,
  setImmediate: globalThis.setImmediate,
  clearTimeout: globalThis.clearTimeout,
  clearInterval: globalThis.clearInterval,
  clearImmediate: globalThis.clearImmediate,
  randomUUID: crypto.randomUUID.bind(crypto),
  getRandomValues: crypto.getRandomValues.bind(crypto),
  abortTimeout: AbortSignal.timeout.bind(AbortSignal),
  promisedTimeout: timersPromises.setTimeout,
  promisedImmediate: timersPromises.setImmediate,
};

let installed = false;

/** Once for each thread or process that executes tasks. Code outside tasks, and that of steps, sees no difference. */
export function installRunGlobals(): void {
  if (installed) return;
  installed = true;
  globalThis.Date = runDate();
  Math.random = () => currentExecution()?.runRandom.next() ?? real.random();
  performance.now = () => {
    const run = currentExecution();
    return run === undefined ? real.performanceNow() : run.nowUs / 1_000;
  };
  crypto.randomUUID = () => currentExecution()?.runRandom.uuid() ?? real.randomUUID();
  crypto.getRandomValues = (<T extends ArrayBufferView>(array: T): T => {
    const run = currentExecution();
    if (run === undefined) return real.getRandomValues(array as never);
    run.runRandom.fill(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return array;
  }) as typeof crypto.getRandomValues;
  AbortSignal.timeout = (ms) => {
    const run = currentExecution();
    if (run === undefined) return real.abortTimeout(ms);
    const controller = new AbortController();
    new RunTimer(run, ms, () => controller.abort(new DOMException("the operation timed out", "TimeoutError")));
    return controller.signal;
  };
  const timers = runTimers();
  Object.assign(globalThis, timers);
  Object.assign(timersModule, timers);
  Object.assign(timersPromises, promisedTimers());
  // `import { setTimeout } from "node:timers/promises"` sees them too.
  syncBuiltinESMExports();
}

/** A timer of a run. */
class RunTimer {
  private readonly calledOff = new AbortController();

  constructor(run: Execution, ms: number, ring: () => void, repeat = false) {
    const bound = AsyncResource.bind(ring);
    const next = (): void => {
      run.sleep(Math.max(0, Math.ceil(ms || 0)) * 1_000, this.calledOff.signal).then(
        () => {
          if (this.calledOff.signal.aborted) return;
          bound();
          if (repeat) next();
        },
        () => undefined,
      );
    };
    next();
  }

  close(): this {
    this.calledOff.abort();
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function runTimers(): Record<string, unknown> {
  const clear = (kind: (timer: never) => void) => (timer: unknown) => {
    if (timer instanceof RunTimer) timer.close();
    else kind(timer as never);
  };
  const make =
    (kind: (callback: Callback, ms?: number, ...args: unknown[]) => unknown, repeat: boolean) =>
    (callback: Callback, ms = 0, ...args: unknown[]) => {
      const run = currentExecution();
      if (run === undefined) return kind(callback, ms, ...args);
      return new RunTimer(run, ms, () => callback(...args), repeat);
    };
  const immediate = (callback: Callback, ...args: unknown[]): unknown => {
    const run = currentExecution();
    if (run === undefined) return real.setImmediate(callback, ...args);
    return new RunTimer(run, 0, () => callback(...args));
  };
  const setTimeout = make(real.setTimeout, false);
  // util.promisify looks for these.
  copySymbols(real.setTimeout, setTimeout, promisedTimers().setTimeout);
  copySymbols(real.setImmediate, immediate, promisedTimers().setImmediate);
  return {
    setTimeout,
    setInterval: make(real.setInterval, true),
    setImmediate: immediate,
    clearTimeout: clear(real.clearTimeout),
    clearInterval: clear(real.clearInterval),
    clearImmediate: clear(real.clearImmediate),
  };
}

function copySymbols(from: object, to: object, promised: unknown): void {
  for (const symbol of Object.getOwnPropertySymbols(from)) {
    Object.defineProperty(to, symbol, { value: promised, configurable: true });
  }
}

function promisedTimers() {
  return {
    setTimeout: async (ms = 0, value?: unknown, options?: { signal?: AbortSignal }) => {
      const run = currentExecution();
      if (run === undefined) return real.promisedTimeout(ms, value, options);
      await run.sleep(Math.max(0, Math.ceil(ms)) * 1_000, options?.signal);
      return value;
    },
    setImmediate: async (value?: unknown, options?: { signal?: AbortSignal }) => {
      const run = currentExecution();
      if (run === undefined) return real.promisedImmediate(value, options);
      await run.sleep(0, options?.signal);
      return value;
    },
  };
}

function runDate(): DateConstructor {
  const now = (): number => {
    const run = currentExecution();
    return run === undefined ? real.Date.now() : Math.floor(run.nowUs / 1_000);
  };
  return new Proxy(real.Date, {
    get: (target, property, receiver): unknown => (property === "now" ? now : Reflect.get(target, property, receiver)),
    // `new Date()` is the time; `Date()` is its text.
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
    apply: () => new real.Date(now()).toString(),
  });
}
