import {
  create,
  type DescMessage,
  fromBinary,
  fromJson,
  getOption,
  hasOption,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { isFieldError } from "@bufbuild/protobuf/reflect";
import type { Codec } from "../codec.js";
import { MidstreamError } from "../error.js";
import { input_stream } from "../gen/midstream/v1/input_stream_pb.js";
import { PayloadSchema } from "../gen/midstream/v1/record_pb.js";
import type { TypedMessage } from "../payload.js";
import { type Misfit, RecordInvalid } from "../record-invalid.js";

export function isMessageType(schema: object): schema is DescMessage {
  return (schema as Partial<DescMessage>).kind === "message";
}

/** The id in the message's option `(midstream.v1.input_stream)`; undefined without one. */
export function declaredId(message: DescMessage): string | undefined {
  return hasOption(message, input_stream) ? getOption(message, input_stream).id : undefined;
}

/** Messages travel in their binary form; JSON of the type is read, too. */
export function protobufCodec<D extends DescMessage>(message: D): Codec<MessageShape<D>, MessageInitShape<D>> {
  const { typeName } = message;
  return {
    encode(value) {
      const other = (value as { $typeName?: string } | undefined)?.$typeName ?? typeName;
      if (other !== typeName) throw cannotSend(typeName, { message: `it is a ${other}` });
      try {
        const bytes = toBinary(message, create(message, value));
        return create(PayloadSchema, { content: { case: "proto", value: { typeName, value: bytes } } });
      } catch (cause) {
        throw cannotSend(typeName, problemOf(cause), cause);
      }
    },
    read(record) {
      const { value } = record;
      const wrong = (problem: Misfit, cause?: unknown) =>
        new RecordInvalid(record, { ...problem, message: `the payload is no ${typeName}: ${problem.message}` }, cause);
      if (value instanceof Uint8Array) throw wrong({ message: "it holds bytes" });
      try {
        if (!isTypedMessage(value)) return { ...record, value: fromJson(message, value as JsonValue) };
        if (value.typeName === typeName) return { ...record, value: fromBinary(message, value.value) };
      } catch (cause) {
        throw wrong(problemOf(cause), cause);
      }
      throw wrong({ message: `it is a ${value.typeName}` });
    },
  };
}

/** No JSON value holds bytes. */
function isTypedMessage(value: unknown): value is TypedMessage {
  return typeof value === "object" && value !== null && (value as Partial<TypedMessage>).value instanceof Uint8Array;
}

function problemOf(error: unknown): Misfit {
  const message = error instanceof Error ? error.message : String(error);
  return isFieldError(error) ? { message, fields: { [error.field().name]: message } } : { message };
}

function cannotSend(typeName: string, { message, fields }: Misfit, cause?: unknown): MidstreamError {
  const details = { reason: "PAYLOAD_INVALID", code: "INVALID_ARGUMENT", fields: fields ?? {}, cause } as const;
  return new MidstreamError(`cannot send the value as ${typeName}: ${message}`, details);
}
