// Compiled by `tsc -p tests`, never run: each of these must fail to compile. wrong-shapes.test.ts proves that the proofs can
// fail: with streams that have lost their types, every expected error is missing.
import type { Client } from "../../src/index.js";
import { useInputStreamSend, useRecords } from "../../src/react/index.js";
import type { TaskContext } from "../../src/worker/index.js";
import { AttachmentSchema } from "../gen/acme/v1/agent_pb.js";
import { inputStream } from "../../src/index.js";
import { note, order, userMessage, verdict } from "./streams.js";

declare const client: Client;
declare const ctx: TaskContext;

export async function Wrong() {
  // @ts-expect-error a number is no text
  await client.send("run", userMessage, { text: 5 });
  // @ts-expect-error no such field
  await client.send("run", userMessage, { txt: "go" });
  // @ts-expect-error 64 bits are a bigint
  await client.send("run", userMessage, { budgetCents: 5 });
  // @ts-expect-error another message
  await client.send("run", userMessage, { $typeName: "acme.v1.Attachment", name: "a.b", content: new Uint8Array() });
  // @ts-expect-error an item is missing
  await client.send("run", order, { count: 2 });
  // @ts-expect-error a string is no verdict
  await client.sendMany("run", verdict, [{ approved: "yes" }]);
  // @ts-expect-error a compile-time type counts, too
  await client.send("run", note, { txt: "a" });
  // @ts-expect-error from a task
  await ctx.send("run", order, { item: 3 });
  // @ts-expect-error from the hook
  void useInputStreamSend(userMessage, "run").send({ text: 5 });
  // @ts-expect-error from the hook, with a Standard Schema
  void useInputStreamSend(order, "run").send({ item: "ice", count: "two" });
  // @ts-expect-error a record's value
  void useRecords("run", { stream: userMessage }).records[0]?.value.txt;
  // @ts-expect-error a handler's argument
  userMessage.on((message: { text: number }) => message);
  // @ts-expect-error a handler's argument, with a Standard Schema
  order.on((value) => value.price);
  // @ts-expect-error what once gives
  void (await verdict.once()).output?.approve;
  // @ts-expect-error what peek gives
  void note.peek()?.txt;
}

// @ts-expect-error not everything is a schema
export const unknowable = inputStream({ id: "a", schema: AttachmentSchema });
