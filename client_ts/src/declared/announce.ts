import type { TypedStream } from "./input-stream.js";

type Hear = (stream: TypedStream<unknown, unknown>) => void;

const hearers = new Set<Hear>();

/** Tells who collects declarations of a new one. */
export function announce(stream: TypedStream<unknown, unknown>): void {
  for (const hear of hearers) hear(stream);
}

/** All streams that are declared with a type while `load` runs, such as by the modules that it imports. */
export async function collectDeclared(load: () => Promise<unknown>): Promise<TypedStream<unknown, unknown>[]> {
  const streams: TypedStream<unknown, unknown>[] = [];
  const hear: Hear = (stream) => streams.push(stream);
  hearers.add(hear);
  try {
    await load();
  } finally {
    hearers.delete(hear);
  }
  return streams;
}
