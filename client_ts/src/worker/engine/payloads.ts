/** Values in a run's log: what a task sees has been through its serial form, live as on replay. */

import type { Payload } from "../../gen/midstream/v1/record_pb.js";
import { encodePayload } from "../../payload.js";

export { decodePayload } from "../../payload.js";

/** What a function returned: nothing is null. Throws MidstreamError (PAYLOAD_INVALID) for what has no serial form. */
export function encodeResult(value: unknown): Payload {
  return encodePayload(value === undefined ? null : value);
}
