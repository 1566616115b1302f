import type { Codec } from "./codec.js";
import { type ReceiveOptions, receivingFrom, type Subscription } from "./input-stream.js";
import type { StreamRecord } from "./models.js";
import type { Result } from "./receiving/result.js";

declare const valueType: unique symbol;
declare const sentType: unique symbol;

/** A stream's declaration: its name within a run, and the type of its values. */
export interface StreamDeclaration<T, D extends "input" | "output"> {
  readonly direction: D;
  readonly id: string;
  /** How its values travel, where the type exists at run time. */
  readonly codec?: Codec<T, never>;
  /** For the type checker only; never set. */
  readonly [valueType]?: T;
}

/** A named, typed, ordered channel into a run. `In`: what may be sent, where that is more than what is received. */
export interface InputStream<T, In = T> extends StreamDeclaration<T, "input">, Receiving<T> {
  /** For the type checker only; never set. */
  readonly [sentType]?: In;
}

/** The four ways to receive. They work in a run's code: a task's, or that within `client.attach`. */
export interface Receiving<T> extends AsyncIterable<T> {
  /** Calls the handler with every record, in order, one call at a time, first with the buffered ones. */
  on(handler: (value: T, record: StreamRecord<T>) => unknown): Subscription;
  /** The oldest unconsumed record, or the next to arrive. The process stays. */
  once(options?: ReceiveOptions): Promise<Result<T>>;
  /** As `once`; a task's process may be gone meanwhile. */
  wait(options?: ReceiveOptions): Promise<Result<T>>;
  /** The newest unconsumed value, which stays; undefined where there is none. */
  peek(): T | undefined;
  /** As `peek`, with what else is known of it. */
  peekRecord(): StreamRecord<T> | undefined;
  /** Takes all that is there. */
  drain(): Promise<T[]>;
}

/** A named, typed, ordered channel out of a run. */
export type OutputStream<T> = StreamDeclaration<T, "output">;

/** The type of a declared stream's values. */
export type Of<S> = S extends StreamDeclaration<infer T, "input" | "output"> ? T : unknown;

/** What most calls take: a stream's name, or its declaration. */
export type StreamOrId = string | StreamDeclaration<unknown, "input" | "output">;

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Declares streams, once for all that use them. */
export const streams: {
  input<T = unknown>(declaration: { id: string }): InputStream<T>;
  output<T = unknown>(declaration: { id: string }): OutputStream<T>;
} = {
  input: <T>({ id }: { id: string }) => ({ direction: "input", id: checkedId(id), ...receivingFrom<T>(id) }),
  output: ({ id }) => ({ direction: "output", id: checkedId(id) }),
};

/** How the stream's values travel; undefined: as any JSON. */
export function codecOf(stream: StreamOrId | undefined): Codec<unknown, never> | undefined {
  return typeof stream === "object" ? stream.codec : undefined;
}

/** The stream's name. */
export function streamId(stream: StreamOrId): string {
  return typeof stream === "string" ? stream : stream.id;
}

/** Throws TypeError for what cannot name a stream. */
export function checkedId(id: string): string {
  if (ID.test(id)) return id;
  throw new TypeError(
    `${JSON.stringify(id)} cannot name a stream: use 1 to 128 letters, digits, ".", "_" or "-", and begin with a letter or digit`,
  );
}
