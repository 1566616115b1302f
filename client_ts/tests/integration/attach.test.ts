import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { InputStreamOptions_WhenFull } from "../../src/gen/midstream/v1/input_stream_pb.js";
import { SchemaService } from "../../src/gen/midstream/v1/schema_service_pb.js";
import { type AttachedRun, type Client, connect, streams } from "../../src/index.js";
import { type LocalServer, localServer } from "../../src/testing/index.js";

const words = streams.input<string>({ id: "words" });

let server: LocalServer;
let client: Client;
beforeAll(async () => {
  server = await localServer();
  client = connect({ url: server.url, timeoutMs: 30_000 });
});
afterAll(async () => {
  client.close();
  await server.stop();
});

const sendAll = async (run: AttachedRun, ...values: string[]) => client.sendMany(run.id, words, values);

describe("a block", () => {
  it("completes the run with what it returns", async () => {
    let id = "";
    const result = await client.attach({ task: "t", payload: { a: 1 } }, (run) => {
      id = run.id;
      expect(run.payload).toEqual({ a: 1 });
      return { done: true };
    });
    expect(result).toEqual({ done: true });
    expect(await client.getRun(id)).toMatchObject({ state: "COMPLETED", result: { done: true }, kind: "ATTACHED" });
  });

  it("fails the run with what it throws", async () => {
    let id = "";
    const failing = client.attach({ task: "t" }, (run) => {
      id = run.id;
      throw new RangeError("too far");
    });
    await expect(failing).rejects.toThrow("too far");
    expect(await client.getRun(id)).toMatchObject({
      state: "FAILED",
      failure: { errorType: "RangeError", message: "too far" },
    });
  });

  it("leaves the run running for the next one, which goes on where this one was", async () => {
    const runId = await client.attach({ task: "t" }, async (run) => {
      run.detach();
      await sendAll(run, "a", "b", "c");
      // Within the block the stream itself knows the run.
      expect((await words.once()).unwrap()).toBe("a");
      expect((await words.once()).unwrap()).toBe("b");
      return run.id;
    });
    // "b" was taken and the block ended well: it is done with.
    await client.attach({ runId }, async (run) => {
      expect(run.input(words).peek()).toBe("c");
      expect(await run.input(words).drain()).toEqual(["c"]);
    });
    expect(await client.getRun(runId)).toMatchObject({ state: "COMPLETED", streams: [{ cursor: 3, unreadCount: 0 }] });
  });

  it("is interrupted when the run is cancelled", async () => {
    let id = "";
    const waiting = client.attach({ task: "t" }, async (run) => {
      id = run.id;
      const pending = run.input(words).once();
      await client.cancelRun(run.id);
      await pending;
    });
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await client.getRun(id)).toMatchObject({ state: "CANCELLED" });
  });

  it("ends, and leaves the run alone, when another process takes a stream over", async () => {
    await expect(
      client.attach({ task: "t" }, async (run) => {
        await run.input(words).once({ timeoutMs: 0 });
        const other = connect({ url: server.url });
        await other.attach({ runId: run.id }, async (second) => {
          second.detach();
          await second.input(words).once({ timeoutMs: 0 });
          await expect(run.input(words).once()).rejects.toMatchObject({ reason: "FENCED" });
        });
        other.close();
        expect(run.signal.aborted).toBe(true);
        run.signal.throwIfAborted();
      }),
    ).rejects.toMatchObject({ reason: "FENCED" });
  });

  it("appends to output streams", async () => {
    const tokens = streams.output<string>({ id: "tokens" });
    await client.attach({ task: "t" }, async (run) => {
      expect(await run.output(tokens).append("Hel")).toMatchObject({ seq: 1 });
      await run.output(tokens).append("lo");
      const seen: string[] = [];
      for await (const record of client.listRecords(run.id, { stream: tokens })) seen.push(record.value);
      expect(seen).toEqual(["Hel", "lo"]);
    });
  });
});

describe("the four views", () => {
  it("share one buffer: changing between them loses and repeats nothing", async () => {
    await client.attach({ task: "t" }, async (run) => {
      const inbox = run.input(words);
      const seen: string[] = [];
      await sendAll(run, ..."abcdefghij".split(""));
      await vi.waitFor(() => expect(inbox.peek()).toBe("j"), 10_000);
      seen.push((await inbox.once()).unwrap());
      for await (const word of inbox) {
        seen.push(word);
        if (word === "c") break;
      }
      const subscription = inbox.on((word) => {
        seen.push(word);
        if (word === "f") subscription.off();
      });
      await vi.waitFor(() => expect(seen).toContain("f"));
      seen.push(...(await inbox.drain()));
      expect(seen.join("")).toBe("abcdefghij");
      expect([inbox.peek(), inbox.peekRecord(), await inbox.drain()]).toEqual([undefined, undefined, []]);
    });
  });

  it("once tells a timeout from a value, and a null from nothing", async () => {
    await client.attach({ task: "t" }, async (run) => {
      const inbox = run.input("values");
      const nothing = await inbox.once({ timeoutMs: 0 });
      expect(nothing).toMatchObject({ ok: false, error: { streamIds: ["values"], timeout: "0ms" } });
      expect(() => nothing.unwrap()).toThrow("no record came");
      expect((await inbox.once({ timeout: "20ms" })).ok).toBe(false);
      await client.send(run.id, "values", null);
      const received = await inbox.once({ timeout: "10s" });
      expect(received).toMatchObject({ ok: true, output: null, record: { seq: 1 } });
      await expect(inbox.once({ timeout: "soon" })).rejects.toThrow("no duration");
      await expect(inbox.wait()).rejects.toThrow("nothing could restart");
    });
  });

  it("a receive that is aborted consumes nothing", async () => {
    await client.attach({ task: "t" }, async (run) => {
      const inbox = run.input(words);
      const controller = new AbortController();
      const pending = inbox.once({ signal: controller.signal });
      controller.abort(new Error("enough"));
      await expect(pending).rejects.toThrow("enough");
      await sendAll(run, "still here");
      expect((await inbox.once()).unwrap()).toBe("still here");
    });
  });

  it("async handlers handle one record at a time; a throwing one is recorded, and delivery goes on", async () => {
    const silenced = vi.spyOn(console, "error").mockImplementation(() => {});
    let id = "";
    const seen: string[] = [];
    await client.attach({ task: "t" }, async (run) => {
      id = run.id;
      let running = 0;
      run.input(words).on(async function collect(word) {
        running += 1;
        expect(running).toBe(1);
        await new Promise(setImmediate);
        running -= 1;
        seen.push(word);
        if (word === "b") throw new TypeError("not that one");
      });
      await sendAll(run, "a", "b", "c");
      await vi.waitFor(() => expect(seen).toEqual(["a", "b", "c"]), 10_000);
    });
    expect(silenced).toHaveBeenCalledOnce();
    expect(await client.getRun(id)).toMatchObject({
      state: "COMPLETED",
      handlerFailureCount: 1,
      handlerFailures: [{ seq: 2, handler: "collect", errorType: "TypeError", message: "not that one" }],
      streams: [{ cursor: 3 }],
    });
  });
});

it("what was not finished when the process broke off comes again, at least once, over a restart of the server", async () => {
  const own = await localServer();
  const first = connect({ url: own.url });
  const seen: string[] = [];
  await first.attach({ task: "t" }, async (run) => {
    const inbox = run.input(words);
    inbox.on((word) => void seen.push(word));
    await first.sendMany(run.id, words, ["a", "b"]);
    await vi.waitFor(() => expect(seen).toHaveLength(2), 10_000);
    await own.restart();
    await first.sendMany(run.id, words, ["c", "d"]);
    await vi.waitFor(() => expect(seen).toHaveLength(4), 20_000);
  });
  expect(seen).toEqual(["a", "b", "c", "d"]);
  first.close();
  await own.stop();
});

it("takes many more records than fit the window", async () => {
  const count = 5_000;
  await client.attach({ task: "t" }, async (run) => {
    const numbers = run.input(streams.input<number>({ id: "numbers" }));
    await client.sendMany(
      run.id,
      "numbers",
      Array.from({ length: count }, (_, index) => index),
    );
    expect(numbers.peekRecord()?.value ?? count - 1).toBe(count - 1);
    const seen: number[] = [];
    for await (const number of numbers) {
      seen.push(number);
      if (seen.length === count) break;
    }
    expect(seen).toEqual(seen.map((_, index) => index));
  });
});

describe("a stream that keeps only the newest", () => {
  const latest = streams.input<number>({ id: "latest" });

  beforeAll(async () => {
    const transport = createGrpcTransport({ baseUrl: server.url.replace("grpc:", "http:") });
    const options = { id: latest.id, maxUnreadRecords: 1, whenFull: InputStreamOptions_WhenFull.DROP_OLDEST };
    await createClient(SchemaService, transport).registerSchemas({ jsonStreams: [{ options, schema: "true" }] });
  });

  it("goes on behind what was dropped, and receipts and the log say what was", async () => {
    const runId = await client.attach({ task: "t" }, (run) => {
      run.detach();
      return run.id;
    });
    const dropped = [];
    for (const value of [1, 2, 3]) dropped.push((await client.send(runId, latest, value)).dropped);
    expect(dropped).toEqual([0, 1, 1]);
    await client.attach({ runId }, async () => {
      expect(latest.peek()).toBe(3);
      expect(await latest.drain()).toEqual([3]);
    });
    expect(await client.getRun(runId)).toMatchObject({ streams: [{ cursor: 3, unreadCount: 0 }] });
    const facts = [];
    for await (const { fact } of client.listEntries(runId)) if (fact.kind === "recordsDropped") facts.push(fact);
    expect(facts).toEqual(
      [1, 2].map((seq) => ({ kind: "recordsDropped", streamId: "latest", firstSeq: seq, lastSeq: seq })),
    );
  });

  it("is acknowledged to its end though a slow handler saw some of it being dropped", async () => {
    const heard: number[] = [];
    let open = (): void => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const runId = await client.attach({ task: "t" }, async (run) => {
      run.input(latest).on(async (value) => {
        heard.push(value);
        await gate;
        if (value === 1) throw new Error("one");
      });
      await client.send(run.id, latest, 1);
      await vi.waitFor(() => expect(heard).toEqual([1]));
      for (const value of [2, 3, 4]) expect((await client.send(run.id, latest, value)).dropped).toBe(1);
      open();
      await vi.waitFor(() => expect(heard.at(-1)).toBe(4));
      return run.id;
    });
    const info = await client.getRun(runId);
    expect(info.streams).toMatchObject([{ cursor: 4, unreadCount: 0 }]);
    expect(info.handlerFailures).toMatchObject([{ seq: 1, message: "one" }]);
  });
});
