/** Time as a thing one can pass in: the system's, or one that a test moves by hand. */

/** Tells the time and calls back at a time, in microseconds since 1970. */
export interface Clock {
  nowUs(): number;
  /** Calls back at `us`, never early and never at once; returns how to call it off. */
  at(us: number, ring: () => void): () => void;
}

// In a run's code these globals are others.
const { setTimeout: after, clearTimeout: callOff } = globalThis;
const wallClock = Date.now;
const LONGEST_TIMEOUT_MS = 2_000_000_000;

export const systemClock: Clock = {
  nowUs: () => wallClock() * 1_000,
  at(us, ring) {
    let timeout: NodeJS.Timeout;
    const wait = (): void => {
      const ms = Math.ceil(us / 1_000 - wallClock());
      timeout = ms > 0 ? after(wait, Math.min(ms, LONGEST_TIMEOUT_MS)) : after(ring, 0);
    };
    wait();
    return () => callOff(timeout);
  },
};

/** Rings once at the time it was last set to. */
export class Alarm {
  private dueUs: number | undefined;
  private callOff: (() => void) | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly ring: () => void,
  ) {}

  get isSet(): boolean {
    return this.dueUs !== undefined;
  }

  /** Undefined: does not ring. Cheap where nothing changes. */
  set(dueUs: number | undefined): void {
    if (dueUs === this.dueUs) return;
    this.dueUs = dueUs;
    this.callOff?.();
    this.callOff = undefined;
    if (dueUs === undefined) return;
    this.callOff = this.clock.at(dueUs, () => {
      this.dueUs = undefined;
      this.callOff = undefined;
      this.ring();
    });
  }
}

/**
 * The server's time, as far as a worker can tell: its own clock, put right by what the server says. It is never ahead of
 * the server by more than a message takes, so that timers are asked for when they are due.
 */
export class ServerTime {
  private aheadUs = 0;

  constructor(private readonly clock: Clock) {}

  nowUs(): number {
    return this.clock.nowUs() + this.aheadUs;
  }

  /** The server stamped something with this time, now or earlier. */
  atLeast(serverUs: number): void {
    this.aheadUs = Math.max(this.aheadUs, serverUs - this.clock.nowUs());
  }

  /** The server said just now that it is this late. */
  exactly(serverUs: number): void {
    this.aheadUs = serverUs - this.clock.nowUs();
  }

  /** What the worker's clock shows at that time of the server. */
  byOwnClock(serverUs: number): number {
    return serverUs - this.aheadUs;
  }
}
