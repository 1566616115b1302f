import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type Client, connect, type Run } from "../../src/index.js";
import { type InProcessWorker, inProcessWorker, type LocalServer, localServer } from "../../src/testing/index.js";
import { step, streams, task } from "../../src/worker/index.js";
import type { AnyTask } from "../../src/worker/task.js";

const words = streams.input<string>({ id: "words" });
const approval = streams.input<boolean>({ id: "approval" });

let server: LocalServer;
let client: Client;
let worker: InProcessWorker | undefined;

beforeAll(async () => {
  server = await localServer({ clock: "manual" });
  client = connect({ url: server.url });
});

afterEach(async () => {
  await worker?.stop();
  worker = undefined;
});

afterAll(async () => {
  client.close();
  await server.stop();
});

async function work(...tasks: { id: string }[]): Promise<void> {
  worker = await inProcessWorker({ server, tasks: tasks as AnyTask[], alwaysSuspend: true });
}

/** The run as it has ended. */
async function ended(runId: string): Promise<Run> {
  return new Promise((resolve, reject) => {
    const following = client.followRun(runId, {
      onRun(run) {
        if (!run.isFinal) return;
        following.close();
        resolve(run);
      },
      onError: reject,
    });
  });
}

/** Until the run has been suspended. */
async function suspended(runId: string): Promise<void> {
  await vi.waitFor(async () => expect((await client.getRun(runId)).state).toBe("SUSPENDED"), { timeout: 10_000 });
}

describe("a task in a test", () => {
  const review = task({
    id: "review",
    run: async (payload: { topic: string }) => {
      const heard: string[] = [];
      words.on((word) => heard.push(word));
      const began = Date.now();
      const answer = await approval.wait({ timeout: "7d" });
      const decision = answer.ok ? answer.output : "nobody answered";
      return { ...payload, heard, decision, days: (Date.now() - began) / 86_400_000 };
    },
  });

  test("hears what is sent, suspended all the while", async () => {
    await work(review);
    const { run } = await client.startRun({ task: "review", payload: { topic: "ice" } });
    for (const word of ["one", "two"]) {
      await suspended(run.id);
      await client.send(run.id, words, word);
    }
    await client.send(run.id, approval, true);
    expect((await ended(run.id)).result).toEqual({ topic: "ice", heard: ["one", "two"], decision: true, days: 0 });
    expect(worker?.suspensions).toBeGreaterThan(0);
  });

  test("waits seven days in no time", async () => {
    await work(review);
    const { run } = await client.startRun({ task: "review", payload: { topic: "ice" } });
    await suspended(run.id);
    await server.advance("6d");
    expect((await client.getRun(run.id)).isFinal).toBe(false);
    await server.advance("1d");
    expect((await ended(run.id)).result).toMatchObject({ decision: "nobody answered", days: 7 });
  });

  test("keeps its time over a restart of the server", async () => {
    await work(review);
    const { run } = await client.startRun({ task: "review", payload: { topic: "ice" } });
    await suspended(run.id);
    await server.advance("6d");
    await server.restart();
    await server.advance("1d");
    expect((await ended(run.id)).result).toMatchObject({ days: 7 });
  });

  test("that changes its memory in a step gives another result when it is suspended", async () => {
    const forgetful = task({
      id: "forgetful",
      run: async (_payload: null, ctx) => {
        let count = 0;
        await ctx.step("count", () => {
          count += 1;
          return null;
        });
        const before = count;
        await approval.wait();
        return [before, count];
      },
    });
    await work(forgetful);
    const { run } = await client.startRun({ task: "forgetful" });
    await suspended(run.id);
    await client.send(run.id, approval, true);
    expect((await ended(run.id)).result).toEqual([0, 0]);
  });

  test("that stays warm has its timers on the server's clock", async () => {
    const patient = task({
      id: "patient",
      run: async () => {
        const began = Date.now();
        const nothing = await words.once({ timeout: "1d" });
        await delay(3_600_000);
        return [nothing.ok, (Date.now() - began) / 3_600_000];
      },
    });
    await work(patient);
    const { run } = await client.startRun({ task: "patient" });
    await vi.waitFor(async () => expect((await client.getRun(run.id)).state).toBe("RUNNING"));
    await vi.waitFor(
      async () => {
        await server.advance("1h");
        expect((await client.getRun(run.id)).isFinal).toBe(true);
      },
      { timeout: 20_000 },
    );
    const { result } = await client.getRun(run.id);
    const [ok, hours] = result as [boolean, number];
    expect(ok).toBe(false);
    expect(hours).toBeGreaterThanOrEqual(25);
  });

  test("that does real I/O outside a step fails; in a step it may", async () => {
    const outside = task({ id: "outside", run: async () => readFile("/etc/hostname", "utf8") });
    const read = step(async function read() {
      return (await readFile("/etc/hostname", "utf8")).length > 0;
    });
    const inside = task({ id: "inside", run: async () => read() });
    await work(outside, inside);
    const runs = await Promise.all(["outside", "inside"].map((name) => client.startRun({ task: name })));
    const [failed, read_] = await Promise.all(runs.map(({ run }) => ended(run.id)));
    expect(failed?.failure).toMatchObject({ errorType: "UnjournaledAwait" });
    expect(failed?.failure?.message).toContain('await ctx.step("name"');
    expect(read_?.result).toBe(true);
  });

  test("starts others and sends to them", async () => {
    const parent = task({
      id: "parent",
      run: async (_payload: null, ctx) => {
        const child = await ctx.startRun("review", { topic: "tides" });
        await ctx.send(child.id, approval, false);
        return child.id;
      },
    });
    await work(review, parent);
    const { run } = await client.startRun({ task: "parent" });
    const child = (await ended(run.id)).result as string;
    expect((await ended(child)).result).toMatchObject({ topic: "tides", decision: false });
  });

  test("leaves the clock and the timers of everybody else alone", async () => {
    const before = Date.now();
    await work(review);
    await delay(2);
    expect(Date.now()).toBeGreaterThan(before);
    expect(Date.now() - before).toBeLessThan(3_600_000);
  });
});

test("a worker without tasks, or for a server that is not there, says so", async () => {
  await expect(inProcessWorker({ server, tasks: [] })).rejects.toThrow(/name the tasks/);
  const nonsense = inProcessWorker({ server: "nonsense://", tasks: [task({ id: "t", run: () => null })] });
  await expect(nonsense).rejects.toThrow(/cannot use "nonsense:\/\/"/);
});

test("only a manual clock can be advanced", async () => {
  await expect(server.advance("1")).rejects.toThrow(/no duration/);
  const real = await localServer();
  try {
    expect(real.clock).toBeUndefined();
    await expect(real.advance("1s")).rejects.toThrow(/clock: "manual"/);
  } finally {
    await real.stop();
  }
});
