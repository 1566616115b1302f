import { create } from "@bufbuild/protobuf";
import { type HandlerFailure, HandlerFailureSchema } from "../gen/midstream/v1/handler_failure_pb.js";

const MAX_NAME = 256;
const MAX_MESSAGE = 4_096;

/** A stream's handler failures that no acknowledgement has taken to the server yet. */
export class UnrecordedFailures {
  readonly #runId: string;
  readonly #streamId: string;
  #failures: HandlerFailure[] = [];

  constructor(runId: string, streamId: string) {
    this.#runId = runId;
    this.#streamId = streamId;
  }

  /** Also writes it to the console, with the stack, which the server does not get. */
  add(seq: number, handler: string, error: unknown): void {
    console.error(
      `midstream: handler ${handler} threw on record ${seq} of stream ${this.#streamId}, run ${this.#runId}; delivery goes on`,
      error,
    );
    const { errorType, message } = describe(error);
    this.#failures.push(
      create(HandlerFailureSchema, {
        seq: BigInt(seq),
        handler: handler.slice(0, MAX_NAME),
        errorType: errorType.slice(0, MAX_NAME),
        message: message.slice(0, MAX_MESSAGE),
      }),
    );
  }

  /** What an acknowledgement through `seq` is to take along. */
  through(seq: number): HandlerFailure[] {
    return this.#failures.filter((failure) => failure.seq <= seq);
  }

  /** An acknowledgement through here has arrived: the server has these failures. */
  recorded(cursor: number): void {
    if (this.#failures.length > 0) this.#failures = this.#failures.filter((failure) => failure.seq > cursor);
  }
}

/** What was thrown, which may be anything, in words. */
export function describe(error: unknown): { errorType: string; message: string; stack: string } {
  if (error instanceof Error) {
    return { errorType: error.name, message: wellFormed(error.message), stack: wellFormed(error.stack ?? "") };
  }
  let message: string;
  try {
    message = String(error);
  } catch {
    message = "(what was thrown has no text)";
  }
  return { errorType: typeof error, message: wellFormed(message), stack: "" };
}

/** Half a surrogate pair has no UTF-8 form. */
function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}
