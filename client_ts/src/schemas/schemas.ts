/** The registry of what may be sent on which input stream, as a client sees it. */

import type { CallOptions, Calls } from "../calls.js";
import type { StreamPromises } from "../declared/input-stream.js";
import { MidstreamError } from "../error.js";
import { InputStreamOptions_WhenFull } from "../gen/midstream/v1/input_stream_pb.js";
import {
  type RegisterSchemasRequest,
  type Schema as SchemaMessage,
  SchemaService,
  SchemaSettings_UndeclaredStreams,
} from "../gen/midstream/v1/schema_service_pb.js";
import { toDate } from "../models.js";
import { type StreamOrId, streamId } from "../streams.js";
import { type AnyTypedStream, requestFor } from "./request.js";

const SCHEMAS_PER_PAGE = 200;

/** One version of what may be sent on a stream: a protobuf message, by `typeName`, or a value by a JSON Schema. */
export interface Schema {
  readonly streamId: string;
  readonly version: number;
  readonly promises: StreamPromises;
  readonly registerTime: Date;
  /** The message's full name; unset for a JSON Schema. */
  readonly typeName?: string;
  /** Serialised; unset in lists. */
  readonly fileDescriptorSet?: Uint8Array;
  /** Unset in lists. */
  readonly jsonSchema?: unknown;
}

/** What became of one stream. */
export interface RegisteredSchema {
  readonly schema: Schema;
  /** False: the newest schema said the same already. */
  readonly created: boolean;
  /** What may break others but was not refused, or was forced; for a person to read. */
  readonly warnings: readonly string[];
}

/** What to register. */
export interface RegisterSchemas {
  streams?: Iterable<AnyTypedStream> | undefined;
  /** As `buf build -o` and `protoc --descriptor_set_out --include_imports` write it: every message that declares a stream. */
  fileDescriptorSet?: Uint8Array | undefined;
  /** Register what breaks stored records or other programs, too. */
  force?: boolean | undefined;
  /** Check everything and register nothing. */
  validateOnly?: boolean | undefined;
}

/** How a namespace treats streams. */
export interface SchemaSettings {
  /** What becomes of a record for a stream without a schema. */
  readonly undeclaredStreams: "accept" | "refuse";
}

/** `client.schemas`: for backends. Every call throws MidstreamError. */
export interface Schemas {
  /**
   * Registers schemas, all of them or none: from then on the server refuses what does not fit. SCHEMA_INCOMPATIBLE says what
   * would break others. Throws TypeError for a stream whose schema has no JSON Schema.
   */
  register(what: RegisterSchemas, options?: CallOptions): Promise<RegisteredSchema[]>;
  /** One schema, whole; without a version the newest. SCHEMA_NOT_FOUND where there is none. */
  get(stream: StreamOrId, options?: CallOptions & { version?: number | undefined }): Promise<Schema>;
  /** Of each stream the newest, or of one stream all; without definitions. */
  list(options?: CallOptions & { stream?: StreamOrId | undefined }): AsyncGenerator<Schema, void, undefined>;
  settings(options?: CallOptions): Promise<SchemaSettings>;
  updateSettings(settings: SchemaSettings, options?: CallOptions): Promise<SchemaSettings>;
}

export function createSchemas(calls: Calls): Schemas {
  const { method } = SchemaService;
  return {
    async register({ streams = [], fileDescriptorSet, force = false, validateOnly = false }, options) {
      const request = requestFor(streams);
      if (fileDescriptorSet) request.fileDescriptorSet = joined(request.fileDescriptorSet, fileDescriptorSet);
      return registerRequest(calls, { ...request, force, validateOnly }, options);
    },

    async get(stream, { version = 0, ...options } = {}) {
      const { schema } = await calls.unary(method.getSchema, { streamId: streamId(stream), version }, options);
      return toSchema(schema);
    },

    async *list({ stream, ...options } = {}) {
      const id = stream === undefined ? "" : streamId(stream);
      const request = { streamId: id, pageSize: SCHEMAS_PER_PAGE, pageToken: "" };
      do {
        const page = await calls.unary(method.listSchemas, request, options);
        for (const schema of page.schemas) yield toSchema(schema);
        request.pageToken = page.nextPageToken;
      } while (request.pageToken !== "");
    },

    async settings(options) {
      const { settings } = await calls.unary(method.getSchemaSettings, {}, options);
      return toSettings(settings?.undeclaredStreams);
    },

    async updateSettings({ undeclaredStreams }, options) {
      const { ACCEPT, REFUSE } = SchemaSettings_UndeclaredStreams;
      const settings = { undeclaredStreams: undeclaredStreams === "refuse" ? REFUSE : ACCEPT };
      const response = await calls.unary(method.updateSchemaSettings, { settings }, options);
      return toSettings(response.settings?.undeclaredStreams);
    },
  };
}

/** As `Schemas.register`, with a request that is made already. */
export async function registerRequest(
  calls: Calls,
  request: RegisterSchemasRequest,
  options?: CallOptions,
): Promise<RegisteredSchema[]> {
  const { registered } = await calls.unary(SchemaService.method.registerSchemas, request, options);
  return registered.map(({ schema, created, warnings }) => ({ schema: toSchema(schema), created, warnings }));
}

/** Serialised sets of files, put one behind the other, are the set of all of them. */
export function joined(...sets: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(sets.flatMap((set) => [...set]));
}

function toSchema(schema: SchemaMessage | undefined): Schema {
  if (schema === undefined) throw new MidstreamError("the server's answer has no schema", { code: "INTERNAL" });
  const { definition, options } = schema;
  const described: { -readonly [K in "typeName" | "fileDescriptorSet" | "jsonSchema"]?: Schema[K] } = {};
  if (definition.case === "protobuf") {
    described.typeName = definition.value.typeName;
    if (definition.value.fileDescriptorSet.length > 0) described.fileDescriptorSet = definition.value.fileDescriptorSet;
  } else if (definition.case === "json" && definition.value.schema !== "") {
    described.jsonSchema = JSON.parse(definition.value.schema);
  }
  return {
    streamId: schema.streamId,
    version: schema.version,
    promises: {
      ...(options?.maxPayloadBytes && { maxPayloadBytes: options.maxPayloadBytes }),
      ...(options?.maxUnreadRecords && { maxUnreadRecords: options.maxUnreadRecords }),
      whenFull: options?.whenFull === InputStreamOptions_WhenFull.DROP_OLDEST ? "dropOldest" : "reject",
      backendOnly: options?.backendOnly ?? false,
    },
    registerTime: toDate(schema.registerTime),
    ...described,
  };
}

function toSettings(undeclared: SchemaSettings_UndeclaredStreams | undefined): SchemaSettings {
  return { undeclaredStreams: undeclared === SchemaSettings_UndeclaredStreams.REFUSE ? "refuse" : "accept" };
}
