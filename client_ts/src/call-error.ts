/** Apart from `error.ts`: a run's thread makes no calls, and starts sooner without the library that does. */

import { ConnectError } from "@connectrpc/connect";
import { codeOf, described, MidstreamError } from "./error.js";

/** The error that a failed call stands for. */
export function fromCall(failed: unknown): MidstreamError {
  if (failed instanceof MidstreamError) return failed;
  const error = ConnectError.from(failed);
  const details = error.details.flatMap((detail) => ("type" in detail ? [detail] : []));
  return described(error.rawMessage || "the call failed without a message", codeOf(error.code), details, error.cause);
}
