import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { type Client, connect, inputStream, MidstreamError } from "../../src/index.js";
import { type LocalServer, localServer } from "../../src/testing/index.js";
import { UserMessage_Kind } from "../gen/acme/v1/agent_pb.js";
import { file_acme_v1_everything } from "../gen/acme/v1/everything_pb.js";
import { order, userMessage, verdict } from "../types/streams.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
let server: LocalServer;
let client: Client;
beforeAll(async () => {
  server = await localServer();
  client = connect({ url: server.url, timeoutMs: 30_000 });
  await client.schemas.register({ streams: [userMessage, order, verdict] });
});
afterAll(async () => {
  client.close();
  await server.stop();
});

async function refused(sending: Promise<unknown>): Promise<MidstreamError> {
  const error = await sending.then(
    () => undefined,
    (failed: unknown) => failed,
  );
  if (error instanceof MidstreamError) return error;
  throw new Error("it was stored");
}

/** The command, as a user runs it: the package's own, from its build. */
async function midstream(...args: string[]): Promise<string> {
  const command = path.join(root, "dist/worker/cli/main.js");
  const env = { ...process.env, MIDSTREAM_URL: server.url };
  return (await promisify(execFile)(process.execPath, [command, ...args], { env })).stdout;
}

it("registers once what says the same, and shows it", async () => {
  const again = await client.schemas.register({ streams: [userMessage, order, verdict], validateOnly: true });
  expect(again.map(({ schema, created }) => [schema.streamId, schema.version, created])).toEqual([
    ["budget", 1, false], // of the same file as UserMessage
    ["order", 1, false],
    ["user-message", 1, false],
    ["verdict", 1, false],
  ]);
  const listed = [];
  for await (const schema of client.schemas.list()) listed.push(schema);
  expect(listed.map(({ streamId }) => streamId)).toEqual(["budget", "order", "user-message", "verdict"]);
  expect(listed[1]?.promises).toMatchObject({ maxUnreadRecords: 1, whenFull: "dropOldest" });
  expect(await client.schemas.get(order, { version: 1 })).toMatchObject({ jsonSchema: { required: ["item"] } });
  const whole = await client.schemas.get(userMessage);
  expect(whole).toMatchObject({ typeName: "acme.v1.UserMessage", promises: { maxPayloadBytes: 8192 } });
  expect(whole.fileDescriptorSet?.length).toBeGreaterThan(100);
});

it("tells what would break others, unless it is forced", async () => {
  const broken = inputStream({ id: "user-message", schema: z.object({ text: z.string() }) });
  const error = await refused(client.schemas.register({ streams: [broken], validateOnly: true }));
  expect(error.reason).toBe("SCHEMA_INCOMPATIBLE");
  const [forced] = await client.schemas.register({ streams: [broken], validateOnly: true, force: true });
  expect(forced?.warnings.length).toBeGreaterThan(0);
});

it("says and sets what becomes of streams without a schema", async () => {
  expect(await client.schemas.settings()).toEqual({ undeclaredStreams: "accept" });
  expect(await client.schemas.updateSettings({ undeclaredStreams: "refuse" })).toEqual({ undeclaredStreams: "refuse" });
  try {
    const { run } = await client.startRun({ task: "t" });
    expect(await refused(client.send(run.id, "unheard-of", 1))).toMatchObject({ reason: "STREAM_UNDECLARED" });
  } finally {
    await client.schemas.updateSettings({ undeclaredStreams: "accept" });
  }
});

describe.each(["gRPC", "Connect"])("by %s", (way) => {
  let sender: Client;
  beforeAll(() => {
    sender = connect({ url: way === "gRPC" ? server.url : server.webUrl, timeoutMs: 30_000 });
  });
  afterAll(() => sender.close());

  it("the door takes what fits, and names each field of what does not, with one text everywhere", async () => {
    const { run } = await client.startRun({ task: "t" });
    await sender.send(run.id, userMessage, { kind: UserMessage_Kind.INSTRUCTION, text: "go", budgetCents: 2n ** 60n });
    await sender.send(run.id, "user-message", { kind: "KIND_WRAP_UP", text: "as JSON", budgetCents: "7" });
    const wrong = { kind: UserMessage_Kind.INSTRUCTION, attachments: [{ name: "A" }], budgetCents: -1n };
    const error = await refused(sender.send(run.id, userMessage, wrong));
    expect(error).toMatchObject({ reason: "PAYLOAD_INVALID", code: "INVALID_ARGUMENT" });
    expect(error.fields).toEqual({
      text: "must be at least 1 characters",
      "attachments[0].name": "does not match regex pattern `^[a-z]+\\.[a-z]+$`",
      budget_cents: "must be greater than or equal to 0",
    });
    const json = await refused(sender.send(run.id, "order", { item: "", count: 1.5 }));
    expect(Object.keys(json.fields).sort()).toEqual(["count", "item"]);

    const typed = [];
    for await (const { value, schemaVersion } of sender.listRecords(run.id, { stream: userMessage })) {
      typed.push([value.text, value.budgetCents, schemaVersion]);
    }
    expect(typed).toEqual([
      ["go", 2n ** 60n, 1],
      ["as JSON", 7n, 1],
    ]);
    const plain = [];
    for await (const { value } of sender.listRecords(run.id, { stream: "user-message", view: "json" }))
      plain.push(value);
    expect(plain[0]).toEqual({ kind: "KIND_INSTRUCTION", text: "go", budgetCents: "1152921504606846976" });
  });
});

describe("the command", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(path.join(tmpdir(), "midstream-push-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it("pushes what a module declares, though it exports nothing, and a descriptor set", async () => {
    const module = path.join(root, "tests/worker/pushed.mjs");
    const set = path.join(directory, "set.binpb");
    writeFileSync(
      set,
      toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file_acme_v1_everything.proto] })),
    );
    const said = await midstream("schema", "push", module, set, "--json");
    const lines = said.trim().split("\n");
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      { stream_id: "everything", version: 1, type_name: "acme.v1.Everything", created: true, warnings: [] },
      { stream_id: "pushed", version: 1, type_name: null, created: true, warnings: [] },
    ]);
    expect(await midstream("schema", "push", module)).toContain("pushed  version 1 is there already: JSON Schema");
  });

  it("says what is wrong with what it is given", async () => {
    await expect(midstream("schema", "push")).rejects.toMatchObject({ code: 2 });
    const nothing = path.join(directory, "nothing.mjs");
    writeFileSync(nothing, "export const nothing = 1;");
    await expect(midstream("schema", "push", nothing)).rejects.toMatchObject({ code: 2 });
  });
});
