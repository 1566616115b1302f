/** Registers what the modules declare streams to be, before the worker takes its first run. */

import { fromBinary } from "@bufbuild/protobuf";
import { platform } from "#platform";
import { createCalls } from "../../calls.js";
import { fixedCredentials } from "../../credentials.js";
import { RegisterSchemasRequestSchema } from "../../gen/midstream/v1/schema_service_pb.js";
import { registerRequest } from "../../schemas/schemas.js";
import type { Report } from "./report.js";

const TIMEOUT_MS = 60_000;

/** `schemas`: a serialised RegisterSchemasRequest. Throws MidstreamError. */
export async function pushSchemas(
  schemas: Uint8Array,
  { url, apiKey, report }: { url: string; apiKey?: string | undefined; report: Report },
): Promise<void> {
  const link = platform.link(url);
  try {
    const credentials = fixedCredentials(apiKey);
    const calls = createCalls({
      transport: link.transport,
      timeoutMs: TIMEOUT_MS,
      credentialsOf: () => credentials,
      closed: new AbortController().signal,
    });
    const request = fromBinary(RegisterSchemasRequestSchema, schemas);
    for (const { schema, created, warnings } of await registerRequest(calls, request)) {
      const { streamId: stream_id, version } = schema;
      report({ event: "schema_registered", stream_id, version, created, warnings });
    }
  } finally {
    link.close();
  }
}
