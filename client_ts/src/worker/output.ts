/** Appending to output streams, in a task and in the code of its steps. */

import { encodePayload } from "../payload.js";
import { type OutputStream, streamId } from "../streams.js";
import { currentScope } from "./engine/scope.js";

const MAX_BYTES = 1024 * 1024;

export interface AppendOptions {
  readonly metadata?: Record<string, string>;
}

/** An output stream of the run whose code is running. */
export interface Output<T> {
  /**
   * Puts a record behind those that were appended before; does not wait for the server. Whatever the run does next comes
   * behind it. A step that fails or is lost, and runs again, takes back what it has appended: readers see each answer once.
   *
   * Throws MidstreamError (PAYLOAD_INVALID), RangeError for over 1 MiB, Error outside a run and where over 64 MiB are waiting.
   */
  append(value: T, options?: AppendOptions): void;
  /** In a step: resolves when all that the run has appended is on disk. */
  flush(): Promise<void>;
}

/** By its name, or as it was declared. */
export function output<T = unknown>(stream: string | OutputStream<T>): Output<T> {
  const id = streamId(stream);
  return {
    append(value, { metadata = {} } = {}) {
      const payload = encodePayload(value);
      const { content } = payload;
      const bytes = content.case === "json" ? Buffer.byteLength(content.value) : (content.value as Uint8Array).length;
      if (bytes > MAX_BYTES) throw new RangeError(`output stream "${id}": ${bytes} bytes are over the limit of 1 MiB`);
      const scope = currentScope();
      if (scope === undefined)
        throw new Error(`output stream "${id}" is appended to in a run: in a task, or in a step`);
      if (scope.step === undefined) scope.execution.appendOutput(id, payload, metadata);
      else scope.step.output.append(id, payload, metadata);
    },
    flush() {
      const step = currentScope()?.step;
      if (step === undefined) {
        throw new Error(
          "flush() is for the code of steps; outside of them the run is neither suspended nor ended before what it has appended is on disk",
        );
      }
      return step.output.flush();
    },
  };
}
