declare const valueType: unique symbol;

/** A stream's declaration: its name within a run, and the type of its values. */
export interface StreamDeclaration<T, D extends "input" | "output"> {
  readonly direction: D;
  readonly id: string;
  /** For the type checker only; never set. */
  readonly [valueType]?: T;
}

/** A named, typed, ordered channel into a run. */
export type InputStream<T> = StreamDeclaration<T, "input">;

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
  input: ({ id }) => ({ direction: "input", id: checked(id) }),
  output: ({ id }) => ({ direction: "output", id: checked(id) }),
};

/** The stream's name. */
export function streamId(stream: StreamOrId): string {
  return typeof stream === "string" ? stream : stream.id;
}

function checked(id: string): string {
  if (ID.test(id)) return id;
  throw new TypeError(
    `${JSON.stringify(id)} cannot name a stream: use 1 to 128 letters, digits, ".", "_" or "-", and begin with a letter or digit`,
  );
}
