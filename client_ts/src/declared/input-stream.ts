import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Codec } from "../codec.js";
import { receivingFrom } from "../input-stream.js";
import { checkedId, type InputStream } from "../streams.js";
import { announce } from "./announce.js";
import { declaredId, isMessageType, protobufCodec } from "./protobuf.js";
import { standardCodec } from "./standard.js";

/** What a stream promises, once its schema is registered. Left out: what the server allows. */
export interface StreamPromises {
  /** The largest payload. */
  readonly maxPayloadBytes?: number;
  /** How many records may wait unread. */
  readonly maxUnreadRecords?: number;
  /** What becomes of one more: it is refused, by default, or the oldest that waits is dropped. */
  readonly whenFull?: "reject" | "dropOldest";
  /** Access tokens cannot send to it. */
  readonly backendOnly?: boolean;
}

/** A stream's name and the type of its values, with what it promises. */
export interface TypedDeclaration<S> extends StreamPromises {
  readonly id: string;
  readonly schema: S;
}

/** A stream with a type that exists at run time. */
export interface TypedStream<T, In = T> extends InputStream<T, In> {
  readonly codec: Codec<T, In>;
  /** A protobuf message type or a Standard Schema. */
  readonly schema: DescMessage | StandardSchemaV1;
  readonly promises: StreamPromises;
}

/**
 * Declares a stream with its type: `inputStream(UserMessageSchema)` takes id, type and limits from a protobuf message with
 * the option `(midstream.v1.input_stream)`; `inputStream({ id, schema })` takes a Standard Schema, such as one of zod or
 * valibot. Sending takes what the schema takes, and receiving gives what it makes of that.
 *
 * Throws TypeError for a message without the option and for what is no schema.
 */
export function inputStream<D extends DescMessage>(message: D): TypedStream<MessageShape<D>, MessageInitShape<D>>;
export function inputStream<S extends StandardSchemaV1>(
  declaration: TypedDeclaration<S>,
): TypedStream<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>>;
export function inputStream(declared: DescMessage | TypedDeclaration<StandardSchemaV1>): TypedStream<unknown, unknown> {
  const stream = isMessageType(declared) ? ofMessage(declared) : ofSchema(declared);
  announce(stream);
  return stream;
}

function ofMessage(message: DescMessage): TypedStream<unknown, unknown> {
  const id = declaredId(message);
  if (id === undefined) {
    throw new TypeError(
      `${message.typeName} does not say on which stream it is sent: give it the option (midstream.v1.input_stream) = {id: "..."}`,
    );
  }
  return typed(id, message, protobufCodec(message), {});
}

function ofSchema({ id, schema, ...promises }: TypedDeclaration<StandardSchemaV1>): TypedStream<unknown, unknown> {
  if (typeof schema?.["~standard"]?.validate !== "function") {
    throw new TypeError(`stream "${id}": its schema is no Standard Schema, as those of zod 4 and valibot 1 are`);
  }
  for (const name of ["maxPayloadBytes", "maxUnreadRecords"] as const) {
    const limit = promises[name];
    if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) {
      throw new RangeError(`stream "${id}": ${name} is a whole number from 1, got ${limit}`);
    }
  }
  return typed(id, schema, standardCodec(schema), promises);
}

function typed(
  id: string,
  schema: DescMessage | StandardSchemaV1,
  codec: Codec<unknown, unknown>,
  promises: StreamPromises,
): TypedStream<unknown, unknown> {
  return { direction: "input", id: checkedId(id), schema, codec, promises, ...receivingFrom(id, { codec }) };
}
