import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { z } from "zod";
import { inputStream, MidstreamError, type StreamRecord } from "../../src/index.js";
import { PayloadSchema, RecordSchema } from "../../src/gen/midstream/v1/record_pb.js";
import { toRecord } from "../../src/models.js";
import { encodeAs } from "../../src/payload.js";
import { codecOf, type StreamOrId } from "../../src/streams.js";
import { fakeServer } from "../../src/testing/index.js";
import { type UserMessage, UserMessage_Kind, UserMessageSchema, NoteSchema } from "../gen/acme/v1/agent_pb.js";
import { EverythingSchema, OlderEverythingSchema } from "../gen/acme/v1/everything_pb.js";
import { everything, order, userMessage, verdict } from "../types/streams.js";

/** What comes out at the other end of a value that goes in. */
function passed(stream: StreamOrId, value: unknown): unknown {
  const record = create(RecordSchema, {
    streamId: "s",
    seq: 7n,
    schemaVersion: 3,
    payload: encodeAs(codecOf(stream), value),
  });
  return codecOf(stream)?.read(toRecord(record)).value;
}

function stored(value: unknown): StreamRecord {
  return { ...toRecord(create(RecordSchema, { streamId: "s", seq: 7n, schemaVersion: 3 })), value };
}

function thrown(act: () => unknown): MidstreamError {
  try {
    act();
  } catch (error) {
    if (error instanceof MidstreamError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

it("a message's option names its stream, though its code has its own copy of the option", () => {
  expect(userMessage.id).toBe("user-message");
  expect(() => inputStream(NoteSchema)).toThrow(/acme\.v1\.Note does not say on which stream/);
});

it("what is no schema, and what makes no limit, is refused where it is declared", () => {
  expect(() => inputStream({ id: "a", schema: {} as never })).toThrow(/no Standard Schema/);
  expect(() => inputStream({ id: "-", schema: z.string() })).toThrow(/cannot name a stream/);
  expect(() => inputStream({ id: "a", schema: z.string(), maxUnreadRecords: 0 })).toThrow(/whole number from 1, got 0/);
});

it("messages travel in binary form, from a plain object or a message", () => {
  const plain = { kind: UserMessage_Kind.INSTRUCTION, text: "go", budgetCents: 2n ** 62n };
  const message = passed(userMessage, plain) as UserMessage;
  expect(message).toEqual(create(UserMessageSchema, plain));
  expect(passed(userMessage, message)).toEqual(message);
  expect(encodeAs(codecOf(userMessage), plain).content).toMatchObject({
    case: "proto",
    value: { typeName: "acme.v1.UserMessage" },
  });
});

it("of JSON, messages are read, too: 64-bit integers are strings there", () => {
  const read = userMessage.codec.read(stored({ text: "go", kind: "KIND_WRAP_UP", budgetCents: "9007199254740993" }));
  expect(read.value).toMatchObject({ text: "go", kind: UserMessage_Kind.WRAP_UP, budgetCents: 9007199254740993n });
});

it("every kind of field comes back as it was", () => {
  const value = create(EverythingSchema, {
    big: -(2n ** 63n),
    bigger: 2n ** 64n - 1n,
    raw: new Uint8Array([0, 255]),
    counts: { a: 2n ** 53n + 1n },
    answer: { case: "nested", value: { answer: { case: "text", value: "deep" } } },
    children: [{ children: [{ big: 1n }] }],
    anything: anyPack(NoteSchema, create(NoteSchema, { text: "any" })),
    shape: { list: [1, null, { a: "b" }] },
    perhaps: "",
    score: 0.1,
  });
  const came = passed(everything, value) as typeof value;
  expect(came).toEqual(value);
  expect(came.anything && anyUnpack(came.anything, NoteSchema)?.text).toBe("any");
});

it("unknown fields and unknown enum values are kept by who passes them on", () => {
  const value = create(EverythingSchema, { big: 1n, colour: 77 as never, answer: { case: "text", value: "new" } });
  const older = fromBinary(OlderEverythingSchema, toBinary(EverythingSchema, value));
  expect(fromBinary(EverythingSchema, toBinary(OlderEverythingSchema, older))).toEqual(value);
  expect((passed(everything, value) as typeof value).colour).toBe(77);
});

it("what is no such message is not sent", () => {
  const wrong = thrown(() => passed(userMessage, { kind: 1.5 }));
  expect(wrong).toMatchObject({ reason: "PAYLOAD_INVALID", code: "INVALID_ARGUMENT" });
  expect(wrong.message).toMatch(/cannot send the value as acme\.v1\.UserMessage: .*kind/);
  const note = create(NoteSchema, { text: "go" });
  expect(thrown(() => passed(userMessage, note)).message).toMatch(/it is a acme\.v1\.Note/);
});

it.each([
  [{ typeName: "acme.v1.Note", value: new Uint8Array() }, /no acme\.v1\.UserMessage: it is a acme\.v1\.Note/],
  [{ typeName: "acme.v1.UserMessage", value: new Uint8Array([0xff]) }, /the payload is no acme\.v1\.UserMessage/],
  [new Uint8Array([1]), /it holds bytes/],
  [{ kind: 1, txt: "go" }, /txt/],
  [undefined, /the payload is no/],
])("a record that holds %j is no message, and the error names it", (value, problem) => {
  const error = thrown(() => userMessage.codec.read(stored(value)));
  expect(error).toMatchObject({
    name: "RecordInvalid",
    streamId: "s",
    seq: 7,
    schemaVersion: 3,
    reason: "PAYLOAD_INVALID",
  });
  expect(error.message).toMatch(/^record 7 on stream "s", checked against schema version 3: /);
  expect(error.message).toMatch(problem);
});

it("a Standard Schema's values travel as JSON, as they are, and come as it makes them", () => {
  expect(encodeAs(codecOf(order), { item: "ice" })).toEqual(
    create(PayloadSchema, { content: { case: "json", value: '{"item":"ice"}' } }),
  );
  expect(passed(order, { item: "ice" })).toEqual({ item: "ice", count: 1 });
  expect(passed(verdict, { approved: true })).toEqual({ approved: true, note: "none" });
});

it("what does not fit it is told by field, in the server's notation", () => {
  const value = { item: "", count: 1.5, tags: { "a b": 1 }, lines: [{ price: 1 }, { price: -1 }] };
  const error = thrown(() => order.codec.read(stored(value)));
  expect(Object.keys(error.fields)).toEqual(["item", "count", 'tags["a b"]', "lines[1].price"]);
  expect(error.message).toContain(`item: ${error.fields["item"] ?? "?"}`);
  expect(Object.keys(thrown(() => verdict.codec.read(stored({ approved: "yes" }))).fields)).toEqual(["approved"]);
  expect(Object.keys(thrown(() => verdict.codec.read(stored(null))).fields)).toEqual([""]);
});

it("a schema that cannot answer at once is no schema to receive with", () => {
  const slow = inputStream({ id: "slow", schema: z.string().refine(async () => Promise.resolve(true)) });
  expect(() => slow.codec.read(stored("a"))).toThrow();
});

it("readers outside get values as the type has them; what does not fit is named, and may be passed over", async () => {
  const server = fakeServer();
  const client = server.connect();
  server.addRun("run_1");
  await client.send("run_1", order, { item: "ice" });
  await client.send("run_1", "order", { items: 3 });
  await client.sendMany("run_1", order, [{ item: "water", count: 2 }]);
  const seen: unknown[] = [];
  const tailing = async () => {
    for await (const { value } of client.tail("run_1", { stream: order })) seen.push(value);
  };
  await expect(tailing()).rejects.toMatchObject({ name: "RecordInvalid", seq: 2, offset: 3 });
  expect(seen).toEqual([{ item: "ice", count: 1 }]);

  const invalid: number[] = [];
  const followed: unknown[] = [];
  await new Promise<void>((resolve) => {
    const following = client.followRecords("run_1", {
      stream: order,
      onInvalid: ({ seq }) => invalid.push(seq),
      onRecords(records) {
        for (const { value } of records) followed.push(value);
        if (followed.length === 2) resolve();
      },
    });
    void following;
  });
  expect([followed, invalid]).toEqual([
    [
      { item: "ice", count: 1 },
      { item: "water", count: 2 },
    ],
    [2],
  ]);
  client.close();
});
