/** What the worker and the threads of its runs tell each other. Frames are serialised messages of the contract. */

export interface ThreadData {
  /** URLs of the modules that export tasks. */
  readonly modules: readonly string[];
  /** Unset: as the task says. */
  readonly idleTimeoutMs: number | undefined;
  /** Real I/O outside a step fails the run, instead of being reported once. */
  readonly strict: boolean;
  /** The first thread is to say what its modules declare streams to be. */
  readonly describeStreams: boolean;
}

export type ToThread =
  | { readonly kind: "frame"; readonly frame: Uint8Array }
  /** The answer to a call. */
  | { readonly kind: "answer"; readonly number: number; readonly value: unknown }
  | { readonly kind: "refusal"; readonly number: number; readonly error: Refusal };

/** A MidstreamError: threads cannot hand over the object itself. */
export interface Refusal {
  readonly message: string;
  readonly reason: string;
  readonly code: string;
}

export type FromThread =
  /** It is warm and waits for a run. `schemas`: what to register, a serialised RegisterSchemasRequest. */
  | { readonly kind: "ready"; readonly tasks: readonly string[]; readonly schemas: Uint8Array }
  | { readonly kind: "frame"; readonly frame: Uint8Array }
  /** The run asks the server for something, as a step. */
  | {
      readonly kind: "call";
      readonly number: number;
      readonly method: "send" | "startRun";
      readonly request: Uint8Array;
    }
  | { readonly kind: "log"; readonly level: LogLevel; readonly runId: string; readonly text: string }
  /** Real I/O outside a step, which is only told. */
  | { readonly kind: "trespass"; readonly runId: string; readonly what: string; readonly text: string }
  /** The modules could not be loaded. */
  | { readonly kind: "failed"; readonly message: string };

export type LogLevel = "debug" | "info" | "log" | "warn" | "error";
