/** What declared streams say about their types, as the server registers it. */

import { create, type DescFile, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { StandardJSONSchemaV1, StandardSchemaV1 } from "@standard-schema/spec";
import type { StreamPromises, TypedStream } from "../declared/input-stream.js";
import { isMessageType } from "../declared/protobuf.js";
import { InputStreamOptions_WhenFull, type InputStreamOptionsSchema } from "../gen/midstream/v1/input_stream_pb.js";
import {
  type RegisterSchemasRequest,
  type RegisterSchemasRequest_JsonStreamSchema,
  RegisterSchemasRequestSchema,
} from "../gen/midstream/v1/schema_service_pb.js";

/** Any stream of `inputStream`. */
export type AnyTypedStream = TypedStream<unknown, unknown>;

const KNOWN_TO_SERVERS = ["google/protobuf/", "buf/validate/", "midstream/v1/"];

/** Throws TypeError for a stream whose schema has no JSON Schema, and where two of one name differ. */
export function requestFor(streams: Iterable<AnyTypedStream>): RegisterSchemasRequest {
  const byId = new Map<string, AnyTypedStream>();
  for (const stream of streams) {
    const known = byId.get(stream.id);
    if (known !== undefined && known.schema !== stream.schema) {
      throw new TypeError(`stream "${stream.id}" is declared twice, and differently; declare it once and import it`);
    }
    byId.set(stream.id, stream);
  }
  const files = new Map<string, DescFile>();
  const jsonStreams: MessageInitShape<typeof RegisterSchemasRequest_JsonStreamSchema>[] = [];
  for (const { id, schema, promises } of byId.values()) {
    if (isMessageType(schema)) addFiles(schema.file, files);
    else jsonStreams.push({ options: optionsOf(id, promises), schema: JSON.stringify(jsonSchemaOf(id, schema)) });
  }
  return create(RegisterSchemasRequestSchema, { jsonStreams, fileDescriptorSet: setOf(files.values()) });
}

/** Imports first. */
function addFiles(file: DescFile, files: Map<string, DescFile>): void {
  const { name } = file.proto;
  if (files.has(name) || KNOWN_TO_SERVERS.some((folder) => name.startsWith(folder))) return;
  for (const imported of file.dependencies) addFiles(imported, files);
  files.set(name, file);
}

function setOf(files: Iterable<DescFile>): Uint8Array {
  // A copy of each: the types may come from another copy of the library than ours.
  const file = [...files].map(({ proto }) => create(FileDescriptorProtoSchema, proto));
  return file.length === 0
    ? new Uint8Array()
    : toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
}

function jsonSchemaOf(id: string, schema: StandardSchemaV1): Record<string, unknown> {
  const standard = schema["~standard"] as Partial<StandardJSONSchemaV1.Props> & StandardSchemaV1.Props;
  if (standard.jsonSchema === undefined) {
    throw new TypeError(
      `stream "${id}": its schema (${standard.vendor}) cannot say itself as JSON Schema, which the server checks by; ` +
        "with valibot: toStandardJsonSchema(schema) of @valibot/to-json-schema; with zod: 4.2 or newer",
    );
  }
  try {
    // What may be sent, before any of the schema's own transformations.
    return standard.jsonSchema.input({ target: "draft-2020-12" });
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(`stream "${id}": its schema has no JSON Schema: ${problem}`, { cause });
  }
}

function optionsOf(id: string, promises: StreamPromises): MessageInitShape<typeof InputStreamOptionsSchema> {
  const { maxPayloadBytes = 0, maxUnreadRecords = 0, whenFull = "reject", backendOnly = false } = promises;
  const { REJECT, DROP_OLDEST } = InputStreamOptions_WhenFull;
  return { id, maxPayloadBytes, maxUnreadRecords, backendOnly, whenFull: whenFull === "reject" ? REJECT : DROP_OLDEST };
}
