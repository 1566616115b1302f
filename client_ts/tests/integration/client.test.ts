import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Client, connect, MidstreamError, type StreamRecord, streams } from "../../src/index.js";
import { type LocalServer, localServer } from "../../src/testing/index.js";

let server: LocalServer;
beforeAll(async () => {
  server = await localServer();
});
afterAll(() => server.stop());

/** Both ways to the server: gRPC, and Connect as a browser without WebSockets has it. */
describe.each(["gRPC", "Connect"])("by %s", (way) => {
  let client: Client;
  beforeAll(() => {
    client = connect({ url: way === "gRPC" ? server.url : server.webUrl, timeoutMs: 30_000 });
  });
  afterAll(() => client.close());

  it("starts a run once, finds it, lists it, and cancels it", async () => {
    const started = await client.startRun({ task: `task-${way}`, payload: { topic: "ice" }, metadata: { team: "a" } });
    expect(started).toMatchObject({
      created: true,
      run: { state: "QUEUED", kind: "MANAGED", payload: { topic: "ice" } },
    });
    const { id } = started.run;
    const again = await client.startRun({
      task: `task-${way}`,
      payload: { topic: "ice" },
      metadata: { team: "a" },
      runId: id,
    });
    expect(again).toMatchObject({ created: false, run: { id } });
    expect((await client.getRun(id)).metadata).toEqual({ team: "a" });
    const listed = [];
    for await (const run of client.listRuns({ task: `task-${way}`, states: ["QUEUED"] })) listed.push(run.id);
    expect(listed).toEqual([id]);
    expect(await client.cancelRun(id)).toMatchObject({ state: "CANCELLED", isFinal: true });
    const kinds = [];
    for await (const entry of client.listEntries(id)) kinds.push(entry.fact.kind);
    expect(kinds).toEqual(["created", "cancelRequested", "ended"]);
    expect(await client.listAssignments(id)).toEqual([]);
  });

  it.each([null, false, 0, "", "ünïcødé 😀", { a: [1, { b: null }] }, new Uint8Array([0, 255]), new Uint8Array()])(
    "brings %j to the other side as it was",
    async (value) => {
      const { run } = await client.startRun({ task: "values" });
      await client.send(run.id, "values", value, { metadata: { a: "b" } });
      expect(await client.peek(run.id, "values")).toMatchObject({ value, seq: 1, metadata: { a: "b" } });
      for await (const record of client.tail(run.id, { stream: "values" })) {
        expect(record).toMatchObject({ value, direction: "input", sender: { kind: "ANONYMOUS" } });
        break;
      }
    },
  );

  it("keeps the order of what is sent without waiting, and stores a key once", async () => {
    const { run } = await client.startRun({ task: "order" });
    const numbers = streams.input<number>({ id: "numbers" });
    const receipts = await Promise.all(Array.from({ length: 200 }, (_, index) => client.send(run.id, numbers, index)));
    expect(receipts.map((receipt) => receipt.seq)).toEqual(receipts.map((_, index) => index + 1));
    const stored: number[] = [];
    for await (const record of client.listRecords(run.id, { stream: numbers })) stored.push(record.value);
    expect(stored).toEqual(receipts.map((_, index) => index));

    const first = await client.send(run.id, "keyed", "x", { key: "k" });
    expect(await client.send(run.id, "keyed", "x", { key: "k" })).toEqual({ ...first, deduplicated: true });
    await expect(client.send(run.id, "keyed", "y", { key: "k" })).rejects.toMatchObject({
      reason: "IDEMPOTENCY_KEY_REUSED",
      code: "ALREADY_EXISTS",
      metadata: { idempotency_key: "k" },
    });
  });

  it("sends many, and tells what became of each", async () => {
    const { run } = await client.startRun({ task: "many" });
    const values = Array.from({ length: 5_000 }, (_, index): unknown => index);
    values[10] = undefined;
    values[20] = "x".repeat(1024 * 1024 + 1);
    const results = await client.sendMany(run.id, "many", values);
    expect(results).toHaveLength(5_000);
    expect(results.flatMap((result, index) => (result.ok ? [] : [[index, result.error.reason]]))).toEqual([
      [10, "PAYLOAD_INVALID"],
      [20, "PAYLOAD_TOO_LARGE"],
    ]);
    const seqs = results.flatMap((result) => (result.ok ? [result.receipt.seq] : []));
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
  });

  it("surfaces a refusal at once, with its reason and values", async () => {
    const { run } = await client.startRun({ task: "refusals" });
    await client.cancelRun(run.id);
    await expect(client.send("run_nope", "s", 1)).rejects.toMatchObject({ reason: "RUN_NOT_FOUND", code: "NOT_FOUND" });
    await expect(client.send(run.id, "s", 1)).rejects.toMatchObject({
      reason: "RUN_FINISHED",
      metadata: { run_id: run.id, state: "CANCELLED" },
    });
    await expect(client.send(run.id, "not a name", 1)).rejects.toMatchObject({
      reason: "FIELD_INVALID",
      fields: { stream_id: expect.any(String) as string },
    });
    await expect(client.send(run.id, "s", Number.NaN)).rejects.toBeInstanceOf(MidstreamError);
    const nothing = client.tail("run_nope");
    await expect(nothing.next()).rejects.toMatchObject({ reason: "RUN_NOT_FOUND" });
  });

  it("tails as records come, and ends with the run", async () => {
    const { run } = await client.startRun({ task: "tail" });
    const seen: unknown[] = [];
    const states: string[] = [];
    const watching = (async () => {
      for await (const { state } of client.watchRun(run.id)) states.push(state);
    })();
    const tailing = (async () => {
      for await (const record of client.tail(run.id, { afterOffset: 2 })) seen.push(record.value);
    })();
    for (const value of ["skipped", "b", "c"]) await client.send(run.id, "s", value);
    await vi.waitFor(() => expect(seen).toEqual(["b", "c"]), 20_000);
    await client.cancelRun(run.id);
    await Promise.all([tailing, watching]);
    expect([seen, states.at(0), states.at(-1)]).toEqual([["b", "c"], "QUEUED", "CANCELLED"]);
  });

  it("can be left in the middle, aborted, and bounded in time", async () => {
    const { run } = await client.startRun({ task: "leaving" });
    await client.send(run.id, "s", 1);
    for await (const record of client.tail(run.id)) {
      expect(record.value).toBe(1);
      break;
    }
    const controller = new AbortController();
    const tail = client.tail(run.id, { afterOffset: 2, signal: controller.signal });
    const next = tail.next();
    controller.abort(new Error("enough"));
    await expect(next).rejects.toThrow("enough");
    await expect(client.tail(run.id, { afterOffset: 2, timeoutMs: 50 }).next()).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    const aborted = AbortSignal.abort(new Error("before"));
    await expect(client.getRun(run.id, { signal: aborted })).rejects.toThrow("before");
    await expect(client.send(run.id, "s", 1, { signal: aborted })).rejects.toThrow("before");
  });
});

describe("a server that is killed and comes back", () => {
  it.each(["gRPC", "Connect"])("costs nothing by %s", async (way) => {
    const own = await localServer();
    const client = connect({ url: way === "gRPC" ? own.url : own.webUrl });
    try {
      const { run } = await client.startRun({ task: "restart" });
      const seen: StreamRecord[] = [];
      client.followRecords(run.id, { onRecords: (records) => seen.push(...records) });
      const sends: Promise<unknown>[] = [];
      for (let number = 0; number < 30; number += 1) {
        sends.push(client.send(run.id, "s", number));
        if (number === 15) await own.restart();
      }
      await Promise.all(sends);
      await vi.waitFor(() => expect(seen).toHaveLength(30), 20_000);
      expect(seen.map((record) => record.value)).toEqual(Array.from({ length: 30 }, (_, index) => index));
    } finally {
      client.close();
      await own.stop();
    }
  });

  it("is given up on when the time is up, with what went wrong", async () => {
    const own = await localServer();
    await own.stop();
    const client = connect({ url: own.url });
    await expect(client.getRun("r", { timeoutMs: 200 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(client.send("r", "s", 1, { timeoutMs: 200 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    client.close();
    await expect(client.getRun("r")).rejects.toThrow("closed");
  });
});
