// What is valid: protovalidate in TypeScript agrees with the server, case by case (tests/conformance/validity.json).
import { readFileSync } from "node:fs";
import {
  createFileRegistry,
  type DescMessage,
  fromBinary,
  fromJsonString,
  type JsonValue,
  type Registry,
} from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import {
  file_google_protobuf_any,
  file_google_protobuf_descriptor,
  file_google_protobuf_duration,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import { expect, it } from "vitest";
import { file_buf_validate_validate } from "../gen/buf/validate/validate_pb.js";
import { file_midstream_v1_input_stream } from "../gen/midstream/v1/input_stream_pb.js";

interface Case {
  readonly json: string;
  readonly binary?: string;
  readonly valid: boolean;
  readonly violations?: readonly { readonly field: string; readonly rule: string }[];
}

interface Shared {
  readonly protobuf: readonly { stream: string; type: string; descriptorSet: string; cases: readonly Case[] }[];
}

const KNOWN = [
  file_google_protobuf_any,
  file_google_protobuf_descriptor,
  file_google_protobuf_duration,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  file_buf_validate_validate,
  file_midstream_v1_input_stream,
];

const shared = JSON.parse(
  readFileSync(new URL("../../../tests/conformance/validity.json", import.meta.url), "utf8"),
) as Shared;

function typesOf(descriptorSet: string): Registry {
  const set = fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSet, "base64"));
  const own = set.file.find(({ name }) => KNOWN.every(({ proto }) => proto.name !== name));
  if (own === undefined) throw new Error("a descriptor set without a file of its own");
  const files = (name: string) =>
    KNOWN.find(({ proto }) => proto.name === name) ?? set.file.find((file) => file.name === name);
  return createFileRegistry(own, files);
}

/** What this client says of a case, in the file's own form; undefined: it is no message of the type. */
function verdict(message: DescMessage, registry: Registry, validator: Validator, { json }: Case) {
  let value;
  try {
    value = fromJsonString(message, json, { registry });
  } catch {
    return { valid: false, violations: undefined };
  }
  const { kind, violations = [] } = validator.validate(message, value);
  const found = violations.map((each) => ({ field: pathToString(each.field), rule: each.ruleId }));
  return { valid: kind === "valid", violations: kind === "valid" ? undefined : sorted(found) };
}

function sorted(violations: readonly { field: string; rule: string }[]): JsonValue {
  return [...violations].sort((a, b) => (`${a.field} ${a.rule}` < `${b.field} ${b.rule}` ? -1 : 1));
}

it.each(shared.protobuf)("$stream: as the server says", ({ type, descriptorSet, cases }) => {
  const registry = typesOf(descriptorSet);
  const message = registry.getMessage(type);
  if (!message) throw new Error(`no type ${type}`);
  const validator = createValidator({ registry });
  for (const each of cases) {
    const expected = { valid: each.valid, violations: each.violations && sorted(each.violations) };
    expect(verdict(message, registry, validator, each), each.json).toEqual(expected);
  }
});
