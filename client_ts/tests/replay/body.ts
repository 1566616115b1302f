/** What the parts of one task share. */

import {
  streams,
  type ReceiveOptions,
  type Result,
  type StepOptions,
  type TaskContext,
} from "../../src/worker/index.js";
import type { Life, World } from "./world.js";

export interface Value {
  readonly i: number;
}

export const chat = streams.input<Value>({ id: "chat" });
export const stop = streams.input<Value>({ id: "stop" });
export const approval = streams.input<Value>({ id: "approval" });
export const late = streams.input<Value>({ id: "late" });

/** The test's own reason to give something up. */
export class LetGo extends Error {
  override readonly name = "LetGo";
}

export type Part = (body: Body) => Promise<unknown>;

export class Body {
  index = 0;
  heard: number[] = [];
  hearing = new Happening();
  generating: AbortController | undefined;

  constructor(
    readonly world: World,
    readonly ctx: TaskContext,
    private readonly life: Life,
    /** In seconds. */
    readonly timeout: number | undefined,
  ) {}

  see(...what: unknown[]): void {
    this.life.see(...what);
  }

  step<T>(name: string, value: T, options: StepOptions = {}): Promise<Awaited<T>> {
    return this.ctx.step(name, () => value, options);
  }

  /** From `approval`, noting what came, or that nothing came in time. The timeout is in seconds. */
  async receive(kind: "once" | "wait", timeout: number | undefined, signal?: AbortSignal): Promise<Value | null> {
    const asked = this.now();
    const options: ReceiveOptions = { timeoutMs: timeout === undefined ? undefined : timeout * 1_000, signal };
    return this.noted(await approval[kind](options), asked, timeout);
  }

  noted(result: Result<Value>, asked: number, timeout: number | undefined): Value | null {
    if (result.ok) {
      this.took(result.record.streamId, result.output);
      return result.output;
    }
    if (timeout === undefined || this.now() < asked + timeout * 1_000) throw new Error("timed out early");
    this.see("timeout", this.now());
    return null;
  }

  /** The "stop generating" button. */
  stop(): void {
    this.generating?.abort(new LetGo());
  }

  took(streamId: string, value: Value): void {
    this.see("took", streamId, value.i);
  }

  now(): number {
    return this.ctx.now().getTime();
  }
}

/** Something that happens at some time, again and again. */
export class Happening {
  private happened = false;
  private wake: (() => void)[] = [];

  set(): void {
    this.happened = true;
    for (const wake of this.wake.splice(0)) wake();
  }

  clear(): void {
    this.happened = false;
  }

  /** Rejects with the signal's reason: the run's cancel is nothing that a promise of the task's own hears of. */
  wait(signal: AbortSignal): Promise<void> {
    if (this.happened) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.wake.push(resolve);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }
}
