import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as v from "valibot";
import { expect, it } from "vitest";
import { z } from "zod";
import { inputStream } from "../../src/index.js";
import { requestFor } from "../../src/schemas/request.js";
import { file_buf_validate_validate } from "../gen/buf/validate/validate_pb.js";
import { file_midstream_v1_input_stream } from "../gen/midstream/v1/input_stream_pb.js";
import { everything, order, userMessage, verdict } from "../types/streams.js";

it("has the files of messages once, imports first, without those that every server has", () => {
  const set = fromBinary(FileDescriptorSetSchema, requestFor([userMessage, everything, userMessage]).fileDescriptorSet);
  expect(set.file.map(({ name }) => name)).toEqual(["acme/v1/agent.proto", "acme/v1/everything.proto"]);
  const known = {
    [file_buf_validate_validate.proto.name]: file_buf_validate_validate,
    [file_midstream_v1_input_stream.proto.name]: file_midstream_v1_input_stream,
  };
  const registry = createFileRegistry(set.file[0] as never, (name) => known[name] ?? wellKnown(name));
  expect(registry.getMessage("acme.v1.UserMessage")?.proto.options?.$unknown?.map(({ no }) => no)).toEqual([51715]);
});

function wellKnown(name: string) {
  return everything.schema && userMessage.schema && "file" in everything.schema
    ? [...everything.schema.file.dependencies].find((file) => file.proto.name === name)
    : undefined;
}

it("has the JSON Schema of what may be sent, and what the stream promises", () => {
  const [first, second] = requestFor([order, verdict]).jsonStreams;
  expect(first?.options).toMatchObject({ id: "order", maxUnreadRecords: 1, whenFull: 2, backendOnly: false });
  const schema = JSON.parse(first?.schema ?? "") as object;
  expect(schema).toMatchObject({ required: ["item"], properties: { item: { type: "string", minLength: 1 } } });
  expect(second?.options).toMatchObject({ id: "verdict", backendOnly: true });
  expect(JSON.parse(second?.schema ?? "")).toMatchObject({ required: ["approved"] });
});

it("says what cannot be registered", () => {
  const plain = inputStream({ id: "plain", schema: v.object({ a: v.string() }) });
  expect(() => requestFor([plain])).toThrow(/stream "plain": its schema \(valibot\).*toStandardJsonSchema/);
  const dated = inputStream({ id: "dated", schema: z.object({ at: z.date() }) });
  expect(() => requestFor([dated])).toThrow(/stream "dated": its schema has no JSON Schema: .*[Dd]ate/);
  const other = inputStream({ id: "order", schema: z.string() });
  expect(() => requestFor([order, other])).toThrow(/"order" is declared twice/);
});
