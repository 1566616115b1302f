import { fromBinary } from "@bufbuild/protobuf";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";
import type { ErrorReason } from "./gen/midstream/v1/error_reason_pb.js";

/** A name of `midstream.v1.ErrorReason`. */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** gRPC's status codes, by number. */
const CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** A gRPC status code's name. */
export type StatusCode = (typeof CODES)[number];

/** What an error knows besides its message. */
export interface ErrorDetails {
  reason?: string;
  code?: StatusCode;
  metadata?: Record<string, string>;
  fields?: Record<string, string>;
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** A call was refused or could not be made. */
export class MidstreamError extends Error {
  override readonly name: string = "MidstreamError";
  /** Why the server refused; "" where the refusal is not the server's own, as when it could not be reached. */
  readonly reason: Reason | "" | (string & {});
  readonly code: StatusCode;
  /** The reason's values, such as `run_id`. */
  readonly metadata: Record<string, string>;
  /** What is wrong with which field of the request or payload. */
  readonly fields: Record<string, string>;
  /** Set where the server said when a retry may help. */
  declare readonly retryAfterMs?: number;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = details.reason ?? "";
    this.code = details.code ?? "UNKNOWN";
    this.metadata = details.metadata ?? {};
    this.fields = details.fields ?? {};
    if (details.retryAfterMs !== undefined) this.retryAfterMs = details.retryAfterMs;
  }
}

/** The error that a status stands for, such as the one in a refused record's receipt. */
export function fromStatus(status: Status): MidstreamError {
  const details = status.details.map((any) => ({
    type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1),
    value: any.value,
  }));
  return described(status.message, codeOf(status.code), details);
}

/** The server, or the way to it, is gone or busy: the same call may succeed later. */
export function isTransient(error: MidstreamError): boolean {
  switch (error.code) {
    case "UNAVAILABLE":
      return true;
    case "RESOURCE_EXHAUSTED":
      return error.reason === "RATE_LIMITED";
    // The server explains each refusal of its own with a reason: without one, these came from the connection.
    case "CANCELLED":
    case "UNKNOWN":
    case "ABORTED":
    case "INTERNAL":
      return error.reason === "";
    default:
      return false;
  }
}

/** A code by its number on the wire. */
export function codeOf(number: number): StatusCode {
  return CODES[number] ?? "UNKNOWN";
}

/** A code by the name that the Connect protocol gives it; undefined for another one. */
export function codeNamed(name: string | undefined): StatusCode | undefined {
  if (name === "canceled") return "CANCELLED";
  return CODES.find((code) => code.toLowerCase() === name);
}

export function deadlineExceeded(): MidstreamError {
  return new MidstreamError("the server did not answer in time; what was sent may be stored", {
    code: "DEADLINE_EXCEEDED",
  });
}

interface Detail {
  type: string;
  value: Uint8Array;
}

/** The error that a code with its details stands for. */
export function described(
  message: string,
  code: StatusCode,
  details: readonly Detail[],
  cause?: unknown,
): MidstreamError {
  const found: ErrorDetails = { code, fields: {}, cause };
  for (const { type, value } of details) {
    if (type === ErrorInfoSchema.typeName) {
      const info = fromBinary(ErrorInfoSchema, value);
      found.reason = info.reason;
      found.metadata = info.metadata;
    } else if (type === BadRequestSchema.typeName) {
      const violations = fromBinary(BadRequestSchema, value).fieldViolations;
      found.fields = Object.fromEntries(violations.map((violation) => [violation.field, violation.description]));
    } else if (type === RetryInfoSchema.typeName) {
      const delay = fromBinary(RetryInfoSchema, value).retryDelay;
      if (delay) found.retryAfterMs = Number(delay.seconds) * 1000 + delay.nanos / 1e6;
    }
  }
  return new MidstreamError(message, found);
}
