import type { Clock } from "../worker/host/clock.js";

interface Bell {
  readonly us: number;
  readonly ring: () => void;
}

/** A clock that stands still until `advance` moves it. Begins at 2026-01-01. */
export class ManualClock implements Clock {
  private us = 1_767_225_600_000_000;
  private bells: Bell[] = [];

  /** In microseconds since 1970. */
  nowUs(): number {
    return this.us;
  }

  at(us: number, ring: () => void): () => void {
    const bell = { us, ring };
    this.bells.push(bell);
    if (us <= this.us) queueMicrotask(() => this.ringDue());
    return () => {
      this.bells = this.bells.filter((each) => each !== bell);
    };
  }

  /** Rings what is due by then, in its order. */
  advance(us: number): void {
    this.us += us;
    this.ringDue();
  }

  private ringDue(): void {
    const due = this.bells.filter((bell) => bell.us <= this.us).sort((one, other) => one.us - other.us);
    this.bells = this.bells.filter((bell) => bell.us > this.us);
    for (const { ring } of due) ring();
  }
}
