/** Plays a script in a run's code, attached or managed: see tests/conformance/README.md, *Behaviour*. */

import type { AnyResult, InputStream, Result, Subscription } from "../../src/index.js";

export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
export type Operation = Record<string, Value>;
export type Outcome = { gives: Value } | { fails: string };
export interface Played {
  outcomes: Outcome[];
  heard: Record<string, Value[]>;
}

/** What differs between an attached run and a task. */
export interface Place {
  /** A peek may miss a record until the next await, so it is repeated until it gives what is expected. */
  readonly patient: boolean;
  /** Aborted when the run is cancelled or lost: then the script is cut short. */
  readonly signal: AbortSignal;
  input(id: string): InputStream<Value>;
  waitAny(
    streams: InputStream<Value>[],
    options: { timeout?: string; signal?: AbortSignal },
  ): Promise<AnyResult<Value>>;
  send(stream: string, value: Value, key: string | undefined): Promise<{ seq: number; deduplicated: boolean }>;
  output(stream: string, value: Value): Promise<void> | void;
  sleep(duration: string, signal?: AbortSignal): Promise<void>;
  step(value: Value): Promise<Value>;
}

export const NOTHING = "<nothing>";

/** What a cancelled operation is aborted with. */
class Cancelled extends Error {
  override readonly name = "Cancelled";
}

/** What each operation came to, and what each handler heard in all. */
export async function playScript(operations: readonly Operation[], place: Place): Promise<Played> {
  const script = new Script(place);
  const outcomes: Outcome[] = [];
  for (const operation of operations) outcomes.push(await script.outcome(operation));
  const heard = [...script.handlers].map(([name, handler]) => [name, handler.heard] as const);
  return { outcomes, heard: Object.fromEntries(heard) };
}

/** The same in every language. Throws what no script may meet. */
export function errorName(error: unknown): string {
  if (!(error instanceof Error)) throw error;
  const { reason, code, name } = error as Error & { reason?: string; code?: string };
  switch (name) {
    case "Cancelled":
      return "CANCELLED";
    case "ReceiveTimeout":
      return "TIMEOUT";
    case "MidstreamError":
      return reason === undefined || reason === "" ? String(code) : reason;
    case "StepFailed":
      return `STEP_FAILED ${String(reason)}`;
    case "Error":
    case "TypeError":
    case "RangeError":
      return "MISUSE";
    default:
      throw error;
  }
}

/** Notes what it hears. */
class Handler {
  readonly heard: Value[] = [];
  readonly subscription: Subscription;
  private news = () => {};

  constructor(stream: InputStream<Value>, operation: Operation) {
    this.subscription = stream.on((value) => {
      this.heard.push(value);
      this.news();
      if (this.heard.length === operation["off_after"]) this.subscription.off();
      if (operation["throws"] !== undefined) throw new Error(text(operation["throws"]));
    });
  }

  async heardSoMany(count: number): Promise<Value[]> {
    while (this.heard.length < count) {
      await new Promise<void>((resolve) => {
        this.news = resolve;
      });
    }
    return [...this.heard];
  }
}

class Script {
  readonly handlers = new Map<string, Handler>();
  private readonly started = new Map<string, { outcome: Promise<Outcome>; abort: AbortController }>();
  private readonly iterators = new Map<string, AsyncIterator<Value>>();

  constructor(private readonly place: Place) {}

  /** Being cancelled is no outcome. */
  async outcome(operation: Operation, signal?: AbortSignal): Promise<Outcome> {
    try {
      if ("await" in operation) return await this.taken(operation["await"]).outcome;
      if ("cancel" in operation) {
        const { abort, outcome } = this.taken(operation["cancel"]);
        abort.abort(new Cancelled());
        return await outcome;
      }
      return { gives: (await this.do(operation, signal)) ?? null };
    } catch (error) {
      if (this.place.signal.aborted) throw error;
      return { fails: errorName(error) };
    }
  }

  private async do(operation: Operation, signal: AbortSignal | undefined): Promise<Value | undefined> {
    const { place } = this;
    const [what = ""] = Object.keys(operation);
    const given = operation[what] as Value;
    const name = text(given);
    const options = {
      ...(operation["timeout"] !== undefined && { timeout: text(operation["timeout"]) }),
      ...(signal && { signal }),
    };
    switch (what) {
      case "sequence": {
        const outcomes: Outcome[] = [];
        for (const each of given as Operation[]) outcomes.push(await this.outcome(each));
        return outcomes;
      }
      case "together":
        return Promise.all((given as Operation[]).map((each) => this.outcome(each)));
      case "start": {
        const abort = new AbortController();
        const outcome = this.outcome(given as Operation, abort.signal);
        outcome.catch(() => {}); // whoever awaits it hears
        this.started.set(text(operation["as"]), { outcome, abort });
        return undefined;
      }
      case "try":
        try {
          return await this.outcome(given as Operation);
        } finally {
          for (const each of operation["finally"] as Operation[]) await this.cleanUp(each);
        }
      case "on":
        this.handlers.set(text(operation["as"]), new Handler(place.input(name), operation));
        return undefined;
      case "off":
        this.handlers.get(name)?.subscription.off();
        return undefined;
      case "heard":
        return this.handlers.get(name)?.heardSoMany((operation["gives"] as Value[]).length);
      case "once":
        return unwrapped(await place.input(name).once(options));
      case "wait":
        return unwrapped(await place.input(name).wait(options));
      case "wait_any": {
        const result = await place.waitAny(
          (given as string[]).map((each) => place.input(each)),
          options,
        );
        return { value: unwrapped(result), stream: result.stream?.id ?? null };
      }
      case "next": {
        const iterator = this.iterators.get(name) ?? place.input(name)[Symbol.asyncIterator]();
        this.iterators.set(name, iterator);
        return (await iterator.next()).value as Value;
      }
      case "drain":
        return place.input(name).drain();
      case "peek":
        return this.peek(name, operation["gives"] as Value);
      case "send": {
        const key = operation["key"] === undefined ? undefined : text(operation["key"]);
        const { seq, deduplicated } = await place.send(name, operation["value"] as Value, key);
        return { seq, deduplicated };
      }
      case "output":
        await place.output(name, operation["value"] as Value);
        return undefined;
      case "sleep":
        await place.sleep(name, signal);
        return undefined;
      case "step":
        return place.step(given);
      default:
        throw new SyntaxError(`no operation: ${JSON.stringify(operation)}`);
    }
  }

  private taken(name: Value | undefined) {
    const started = this.started.get(text(name));
    if (started === undefined) throw new SyntaxError(`nothing was started as ${text(name)}`);
    this.started.delete(text(name));
    return started;
  }

  /** In a cancelled run, too, in which no outcome counts. */
  private async cleanUp(operation: Operation): Promise<void> {
    await this.do(operation, undefined);
  }

  private async peek(name: string, expected: Value): Promise<Value> {
    for (;;) {
      const record = this.place.input(name).peekRecord();
      const value = record === undefined ? NOTHING : (this.place.input(name).peek() as Value);
      if (!this.place.patient || JSON.stringify(value) === JSON.stringify(expected)) return value;
      await this.place.sleep("10ms");
    }
  }
}

function unwrapped(result: Result<Value>): Value {
  if (result.ok !== (result.error === undefined)) throw new SyntaxError("a result is either ok or an error");
  return result.unwrap();
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}
