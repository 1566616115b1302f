/** Compares what came with what a vector expects: a subset, in proto JSON. */

import { createRegistry, type DescMessage, type Message, toJson as toProtoJson } from "@bufbuild/protobuf";
import { fromCall } from "../../src/call-error.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.js";
import { type Json, type JsonObject, text } from "./vector.js";

const CODES =
  "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(
    " ",
  );
const registry = createRegistry(ErrorInfoSchema, BadRequestSchema, RetryInfoSchema);

/** The server did otherwise than a vector expects. */
export class Mismatch extends Error {
  override readonly name = "Mismatch";
}

/** Proto JSON with every field that has no presence, so that a vector can expect `false` or an empty list. */
export function toJson(schema: DescMessage, message: Message): JsonObject {
  return toProtoJson(schema, message, { alwaysEmitImplicit: true, registry }) as JsonObject;
}

/** A failed call as a vector writes it. */
export function errorOfCall(failed: unknown): JsonObject {
  const { code, reason, metadata, fields } = fromCall(failed);
  return { code, reason, metadata, fields: Object.keys(fields) };
}

/** Throws Mismatch with every difference. */
export function check(expected: Json | undefined, actual: Json | undefined, path: string): void {
  const lines = differences(expected ?? {}, actual, path);
  if (lines.length > 0) throw new Mismatch(lines.join("\n"));
}

export function differences(expected: Json, actual: Json | undefined, path: string): string[] {
  if (expected === "<any>") return actual === undefined ? [`${path}: expected anything, got nothing`] : [];
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) {
      return [`${path}: expected ${expected.length} elements, got ${short(actual)}`];
    }
    return expected.flatMap((each, index) => differences(each, actual[index], `${path}[${index}]`));
  }
  if (expected !== null && typeof expected === "object") {
    if (actual === null || typeof actual !== "object" || Array.isArray(actual)) {
      return [`${path}: expected an object, got ${short(actual)}`];
    }
    return Object.entries(expected).flatMap(([key, each]) => fieldDifferences(key, each, actual, path));
  }
  return expected === actual ? [] : [`${path}: expected ${short(expected)}, got ${short(actual)}`];
}

function fieldDifferences(key: string, expected: Json, actual: JsonObject, path: string): string[] {
  // A receipt's error, written as the error of a call.
  if (key === "refused") return differences(expected, errorOfReceipt(actual["error"]), `${path}.error`);
  if (expected === "<unset>") {
    return key in actual ? [`${path}.${key}: expected nothing, got ${short(actual[key])}`] : [];
  }
  return differences(expected, actual[key], `${path}.${key}`);
}

function errorOfReceipt(status: Json | undefined): Json | undefined {
  if (status === undefined || status === null) return undefined;
  const { code, details } = status as { code: number; details: JsonObject[] };
  const error: JsonObject = { code: CODES[code] ?? "UNKNOWN", fields: [] };
  for (const detail of details) {
    const type = text(detail["@type"]);
    if (type.endsWith(ErrorInfoSchema.typeName)) {
      error["reason"] = detail["reason"] ?? "";
      error["metadata"] = detail["metadata"] ?? {};
    } else if (type.endsWith(BadRequestSchema.typeName)) {
      error["fields"] = (detail["fieldViolations"] as JsonObject[]).map((violation) => violation["field"] ?? "");
    }
  }
  return error;
}

function short(value: Json | undefined): string {
  const shown = value === undefined ? "nothing" : JSON.stringify(value);
  return shown.length <= 300 ? shown : `${shown.slice(0, 300)}... (${shown.length} characters)`;
}
