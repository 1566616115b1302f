/** The timers that a run has armed: each an operation, due at a time, fired by an entry alone. */

interface Armed {
  readonly dueUs: number;
  readonly fire: () => void;
}

export class Timers {
  private readonly armed = new Map<number, Armed>();

  /** When each armed timer is due, by operation, in microseconds since 1970. */
  *due(): Generator<[operation: number, dueUs: number]> {
    for (const [operation, { dueUs }] of this.armed) yield [operation, dueUs];
  }

  get size(): number {
    return this.armed.size;
  }

  arm(operation: number, dueUs: number, fire: () => void): void {
    this.armed.set(operation, { dueUs, fire });
  }

  /** Harmless for one that has fired or was disarmed before. */
  disarm(operation: number): void {
    this.armed.delete(operation);
  }

  /** The entry has come. Does nothing for a timer that is no longer armed. */
  fire(operation: number): void {
    const timer = this.armed.get(operation);
    this.armed.delete(operation);
    timer?.fire();
  }

  clear(): void {
    this.armed.clear();
  }
}
