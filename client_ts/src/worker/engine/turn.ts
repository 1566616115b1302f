/** When a turn is over: microtasks have run, what was put off within the turn has run, and nothing is left. */

// The real one: in a run's code the global is another.
const macrotask = globalThis.setImmediate;

/** Runs what is ready until nothing is. A run's time stands still meanwhile: it is that of the entry being applied. */
export class Turn {
  nowUs = 0;
  private readonly ready: (() => void)[] = [];

  /** Runs `callback` in this turn, when everything before it has run dry. */
  callSoon(callback: () => void): void {
    this.ready.push(callback);
  }

  /** Every microtask runs before the next macrotask does; promises need nothing else. */
  async runDry(): Promise<void> {
    for (;;) {
      await new Promise<void>((resolve) => {
        macrotask(resolve);
      });
      const next = this.ready.shift();
      if (next === undefined) return;
      next();
    }
  }

  clear(): void {
    this.ready.length = 0;
  }
}
