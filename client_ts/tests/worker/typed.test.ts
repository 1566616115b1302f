import { beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { type AnyTask } from "../../src/worker/task.js";
import { inputStream, RecordInvalid, task, waitAny } from "../../src/worker/index.js";
import { installRunGlobals } from "../../src/worker/realm/globals.js";
import { Log, outcomeOf } from "./log.js";

const order = inputStream({ id: "order", schema: z.object({ item: z.string(), count: z.number().default(1) }) });
const lenient = inputStream({ id: "order", schema: z.object({ item: z.union([z.string(), z.number()]) }) });

beforeAll(() => installRunGlobals());

function logOf(run: AnyTask["run"], ...values: unknown[]): Log {
  const log = new Log(task({ id: "t", run }) as unknown as AnyTask);
  log.begin();
  for (const value of values) log.record("order", value);
  return log;
}

test("a handler, once, peek, drain and for await get what the schema makes of a record", async () => {
  const log = logOf(
    async () => {
      const heard: unknown[] = [];
      const first = (await order.once()).unwrap();
      const listening = order.on((value, record) => heard.push([value, record.seq]));
      await order.wait();
      listening.off();
      const newest = order.peek();
      const all = await order.drain();
      for await (const value of order) return { first, heard, newest, all, value };
      return undefined;
    },
    { item: "a" },
    { item: "b", count: 2 },
  );
  expect((await log.replayed()).ended).toBe(false);
  log.record("order", { item: "c" });
  const ice = (item: string, count = 1) => ({ item, count });
  expect(outcomeOf(await log.replayed())).toMatchObject({
    first: ice("a"),
    heard: [[ice("b", 2), 2]],
    value: ice("c"),
  });
});

test("a record that does not fit is told with its seq; the next receive gets the one behind it", async () => {
  const log = logOf(
    async () => {
      const { ok, error, record } = await order.once();
      const told = error instanceof RecordInvalid ? [error.seq, error.streamId, Object.keys(error.fields)] : error;
      return { ok, told, seq: record?.seq, next: (await order.once()).unwrap() };
    },
    { item: 5 },
    { item: "a" },
  );
  expect(outcomeOf(await log.replayed())).toEqual({
    ok: false,
    told: [1, "order", ["item"]],
    seq: 1,
    next: { item: "a", count: 1 },
  });
});

test("drain ends before a record that does not fit, and begins with its error", async () => {
  const log = logOf(
    async () => {
      const first = await order.drain();
      const second = await order.drain().catch((error: unknown) => (error as RecordInvalid).seq);
      return [first, second, await order.drain()];
    },
    { item: "a" },
    { item: 2 },
    { item: "c" },
    { item: "d" },
  );
  const ice = (item: string) => ({ item, count: 1 });
  // All are there when the task begins to receive: they came while it was queued.
  const early = new Log(log.task);
  for (const item of ["a", 2, "c", "d"]) early.record("order", { item });
  early.begin();
  expect(outcomeOf(await early.replayed())).toEqual([[ice("a")], 2, [ice("c"), ice("d")]]);
});

test("peek throws, and the record stays", async () => {
  const early = new Log(
    task({
      id: "t",
      run: async () => {
        let seq = 0;
        try {
          order.peek();
        } catch (error) {
          seq = (error as RecordInvalid).seq;
        }
        return [seq, (await order.once()).record?.seq];
      },
    }) as unknown as AnyTask,
  );
  early.record("order", {});
  early.begin();
  expect(outcomeOf(await early.replayed())).toEqual([1, 1]);
});

test("to a handler it is a failure of its own, and delivery goes on", async () => {
  const log = logOf(
    async () => {
      const heard: string[] = [];
      order.on(({ item }) => heard.push(item));
      await inputStream({ id: "end", schema: z.null() }).wait();
      return heard;
    },
    { item: 1 },
    { item: "b" },
  );
  log.record("end", null);
  const execution = await log.replayed();
  expect(outcomeOf(execution)).toEqual(["b"]);
  const [failure] = execution.checkpoint().handlerFailures;
  expect(failure).toMatchObject({ seq: 1n, errorType: "RecordInvalid" });
  expect(failure?.message).toMatch(/record 1 on stream "order".*item/);
});

test("waitAny reads by the stream that it came on", async () => {
  const log = logOf(async () => (await waitAny([order, inputStream({ id: "x", schema: z.null() })])).output, {
    item: "a",
  });
  expect(outcomeOf(await log.replayed())).toEqual({ item: "a", count: 1 });
});

test("uncaught, it says that the run cannot go on with this code; code that fits takes it on", async () => {
  const wait = (stream: typeof order | typeof lenient) => async () => (await stream.wait()).unwrap().item;
  const log = logOf(wait(order), { item: 5 });
  await expect(log.replayed()).rejects.toMatchObject({
    name: "RecordUnreadable",
    message: expect.stringMatching(
      /^record 1 on stream "order": .*item.*\.\nDeploy code whose declaration fits/,
    ) as string,
  });
  const fits = new Log(task({ id: "t", run: wait(lenient) }) as unknown as AnyTask);
  fits.entries.push(...log.entries);
  expect(outcomeOf(await fits.replayed())).toBe(5);
});
