import { create } from "@bufbuild/protobuf";
import type { Codec } from "./codec.js";
import { MidstreamError } from "./error.js";
import { type Payload, PayloadSchema } from "./gen/midstream/v1/record_pb.js";

/** A protobuf message that travels as such: its type's full name and its binary encoding. */
export interface TypedMessage {
  readonly typeName: string;
  readonly value: Uint8Array;
}

/** A value as it travels on a stream with this codec. Throws MidstreamError (PAYLOAD_INVALID). */
export function encodeAs(codec: Codec<unknown, never> | undefined, value: unknown): Payload {
  return codec === undefined ? encodePayload(value) : codec.encode(value as never);
}

/** A value as it travels: bytes as they are, everything else as JSON. Throws MidstreamError (PAYLOAD_INVALID). */
export function encodePayload(value: unknown): Payload {
  if (value instanceof Uint8Array) return create(PayloadSchema, { content: { case: "raw", value } });
  let json: string | undefined;
  try {
    json = JSON.stringify(value, refuseNonFinite);
  } catch (cause) {
    throw invalid(`the value is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  if (json === undefined) throw invalid(`${typeof value} is no JSON; null is`);
  return create(PayloadSchema, { content: { case: "json", value: json } });
}

/** The value that a payload holds: plain JSON, bytes, or a TypedMessage. */
export function decodePayload(payload: Payload | undefined): unknown {
  switch (payload?.content.case) {
    case "json":
      return JSON.parse(payload.content.value);
    case "raw":
      return payload.content.value;
    case "proto":
      return { typeName: payload.content.value.typeName, value: payload.content.value.value };
    default:
      return undefined;
  }
}

/** JSON.stringify would turn them into null without a word. */
function refuseNonFinite(key: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new RangeError(`${value} ${key === "" ? "" : `at ${JSON.stringify(key)} `}has no JSON form`);
  }
  return value;
}

function invalid(message: string, cause?: unknown): MidstreamError {
  return new MidstreamError(message, { reason: "PAYLOAD_INVALID", code: "INVALID_ARGUMENT", cause });
}
