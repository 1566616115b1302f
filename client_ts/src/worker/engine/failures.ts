/** Errors as the log and the run keep them. */

import { create } from "@bufbuild/protobuf";
import { type HandlerFailure, HandlerFailureSchema } from "../../gen/midstream/v1/handler_failure_pb.js";
import { type Failure, FailureSchema } from "../../gen/midstream/v1/run_pb.js";

const MAX_NAME = 256;
const MAX_MESSAGE = 4_096;
const MAX_STACK = 65_536;

export function failureOf(error: unknown): Failure {
  return create(FailureSchema, {
    errorType: nameOf(error),
    message: messageOf(error),
    // The end of a stack tells more than its beginning.
    stack: wellFormed(stackOf(error)).slice(-MAX_STACK),
  });
}

export function handlerFailureOf(streamId: string, seq: number, handler: string, error: unknown): HandlerFailure {
  return create(HandlerFailureSchema, {
    streamId,
    seq: BigInt(seq),
    handler: wellFormed(handler).slice(0, MAX_NAME),
    errorType: nameOf(error),
    message: messageOf(error),
  });
}

/** Whatever was thrown: JavaScript lets anything be. */
export function nameOf(error: unknown): string {
  const name = error instanceof Error ? error.name : typeof error;
  return wellFormed(name).slice(0, MAX_NAME);
}

export function messageOf(error: unknown): string {
  let text: string;
  try {
    text = error instanceof Error ? error.message : String(error);
  } catch {
    text = "(the error has no message: it cannot be turned into text)";
  }
  return wellFormed(text).slice(0, MAX_MESSAGE);
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return messageOf(error);
  const own = String(error.stack ?? error);
  return error.cause === undefined ? own : `${own}\nCaused by: ${stackOf(error.cause)}`;
}

/** Half a surrogate pair has no UTF-8 form. */
function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}
