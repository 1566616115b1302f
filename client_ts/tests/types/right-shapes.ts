// Compiled by `tsc -p tests`, never run: what is declared once is typed everywhere.
import { expectTypeOf } from "vitest";
import type { Client, SendResult, StreamRecord } from "../../src/index.js";
import { useInputStreamSend, useRecords } from "../../src/react/index.js";
import type { TaskContext } from "../../src/worker/index.js";
import { type UserMessage, UserMessage_Kind } from "../gen/acme/v1/agent_pb.js";
import { note, order, userMessage, verdict } from "./streams.js";

declare const client: Client;
declare const ctx: TaskContext;

interface Order {
  item: string;
  count: number;
  tags?: Record<string, string> | undefined;
  lines?: { price: number }[] | undefined;
}

export async function received() {
  userMessage.on((message, record) => {
    expectTypeOf(message).toEqualTypeOf<UserMessage>();
    expectTypeOf(message.budgetCents).toEqualTypeOf<bigint>();
    expectTypeOf(record).toEqualTypeOf<StreamRecord<UserMessage>>();
  });
  expectTypeOf((await userMessage.once()).output).toEqualTypeOf<UserMessage | undefined>();
  expectTypeOf((await userMessage.wait()).unwrap()).toEqualTypeOf<UserMessage>();
  expectTypeOf(userMessage.peek()).toEqualTypeOf<UserMessage | undefined>();
  expectTypeOf(await userMessage.drain()).toEqualTypeOf<UserMessage[]>();
  for await (const message of userMessage) expectTypeOf(message.text).toEqualTypeOf<string>();

  order.on((value) => expectTypeOf(value).toEqualTypeOf<Order>());
  expectTypeOf(order.peek()?.count).toEqualTypeOf<number | undefined>();
  verdict.on((value) => expectTypeOf(value).toEqualTypeOf<{ approved: boolean; note: string }>());
  note.on((value) => expectTypeOf(value).toEqualTypeOf<{ text: string }>());
}

export async function sent() {
  await client.send("run", userMessage, { kind: UserMessage_Kind.INSTRUCTION, text: "go", budgetCents: 5n });
  await client.send("run", userMessage, {} as UserMessage);
  await client.send("run", order, { item: "ice" }); // count has a default
  await client.send("run", verdict, { approved: true });
  await client.send("run", note, { text: "a" });
  await client.send("run", "anything", { at: "all" });
  expectTypeOf(await client.sendMany("run", order, [{ item: "ice" }])).toEqualTypeOf<SendResult[]>();
  await ctx.send("run", userMessage, { text: "go" });
}

export async function read() {
  expectTypeOf(await client.peek("run", userMessage)).toEqualTypeOf<StreamRecord<UserMessage> | undefined>();
  for await (const { value } of client.tail("run", { stream: order })) expectTypeOf(value).toEqualTypeOf<Order>();
  for await (const { value } of client.tail("run", { view: "json" })) expectTypeOf(value).toBeUnknown();
  client.followRecords("run", {
    stream: userMessage,
    onRecords: (records) => expectTypeOf(records).toEqualTypeOf<StreamRecord<UserMessage>[]>(),
  });
}

export function Component() {
  const message = useInputStreamSend(userMessage, "run");
  void message.send({ text: "go" });
  expectTypeOf(message.error?.fields).toEqualTypeOf<Record<string, string> | undefined>();
  const ordering = useInputStreamSend(order, "run");
  expectTypeOf(ordering.send).parameter(0).toHaveProperty("count").toEqualTypeOf<number | undefined>();
  const { records, pending } = useRecords("run", { stream: userMessage });
  expectTypeOf(records[0]?.value).toEqualTypeOf<UserMessage | undefined>();
  expectTypeOf(pending[0]?.value).toEqualTypeOf<UserMessage | undefined>();
  expectTypeOf(useRecords("run").records[0]?.value).toBeUnknown();
}
