import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { RunCancelled, step, StepFailed, streams, task, waitAny } from "../../src/worker/index.js";
import { installRunGlobals } from "../../src/worker/realm/globals.js";
import { watchForTrespass } from "../../src/worker/realm/trespass.js";
import { Log, outcomeOf } from "./log.js";

const chat = streams.input<string>({ id: "chat" });
const approval = streams.input<{ approved: boolean } | null>({ id: "approval" });

beforeAll(() => {
  installRunGlobals();
  watchForTrespass({ fails: true, report: () => undefined });
});

function waiting(execution: Awaited<ReturnType<Log["replayed"]>>) {
  return {
    steps: [...execution.steps.pending()].map(({ name, attempt }) => `${name} ${String(attempt)}`),
    timers: [...execution.timers.due()].map(([operation]) => operation),
    listening: execution.receiver.listening.sort(),
    suspendable: execution.suspendable,
  };
}

describe("a task", () => {
  test("sees in its first line what was sent while it was queued, and what comes in order", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async () => {
          const first = chat.peek();
          const heard: string[] = [];
          chat.on((text) => heard.push(text));
          const answer = await approval.wait();
          return { first, heard, answer: answer.unwrap() };
        },
      }),
    );
    log.record("chat", "early");
    log.begin();
    log.record("chat", "later");
    expect(waiting(await log.replayed())).toEqual({
      steps: [],
      timers: [],
      listening: ["approval", "chat"],
      suspendable: true,
    });
    log.record("approval", null);
    expect(outcomeOf(await log.replayed())).toEqual({ first: "early", heard: ["early", "later"], answer: null });
  });

  test("resumes where it was: locals, closures, exceptions in flight and finally blocks", async () => {
    const order: string[] = [];
    const research = step(async function research(topic: string) {
      return Promise.resolve({ topic, found: 3 });
    });
    const log = Log.of(
      task({
        id: "t",
        run: async (payload: { topic: string }) => {
          order.push("begin");
          const found = await research(payload.topic);
          try {
            try {
              throw new RangeError("in flight");
            } catch (error) {
              await approval.wait({ timeout: "1h" });
              return [found, (error as Error).message];
            }
          } finally {
            order.push("finally");
          }
        },
      }),
    );
    log.begin({ topic: "tides" });
    expect(waiting(await log.replayed()).steps).toEqual(["research 1"]);
    log.stepReturned(0, { topic: "tides", found: 3 });
    expect(waiting(await log.replayed())).toMatchObject({ timers: [1], suspendable: true });
    log.timerFired(1, 3600);
    expect(outcomeOf(await log.replayed())).toEqual([{ topic: "tides", found: 3 }, "in flight"]);
    expect(order).toEqual(["begin", "begin", "begin", "finally"]);
  });

  test("takes its time and its random numbers from the log", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async (_payload: null, ctx) => {
          const before = [Date.now(), new Date().toISOString(), performance.now() > 0, Math.random(), ctx.uuid()];
          await delay(90_000);
          return [before, crypto.randomUUID(), Date.now() - (before[0] as number)];
        },
      }),
    );
    log.begin();
    const [timer] = waiting(await log.replayed()).timers;
    log.timerFired(timer ?? -1, 90);
    const once = outcomeOf(await log.replayed());
    expect(outcomeOf(await log.replayed())).toEqual(once);
    expect(once).toEqual([
      [1_767_225_600_000, "2026-01-01T00:00:00.000Z", true, expect.any(Number), expect.any(String)],
      expect.any(String),
      90_000,
    ]);
  });

  test("a timeout and a record: whichever is first in the log wins, and the loser loses nothing", async () => {
    const both = task({
      id: "t",
      run: async () => [(await approval.once({ timeout: "5s" })).ok, (await approval.once({ timeout: "0s" })).ok],
    });
    const late = Log.of(both);
    late.begin();
    late.timerFired(0, 5);
    late.record("approval", null);
    expect(outcomeOf(await late.replayed())).toEqual([false, false]);
    const early = Log.of(both);
    early.begin();
    early.record("approval", null, 4);
    early.timerFired(0, 1);
    expect(outcomeOf(await early.replayed())).toEqual([true, false]);
  });

  test("waits on several streams", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async () => {
          const first = await waitAny<unknown>([chat, approval], { timeout: "1m" });
          return [first.stream?.id, first.output, chat.peek()];
        },
      }),
    );
    log.begin();
    log.record("approval", { approved: true });
    expect(outcomeOf(await log.replayed())).toEqual(["approval", { approved: true }, null]);
  });

  test("retries a step, then meets its last error", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async (_payload: null, ctx) => {
          try {
            await ctx.step("flaky", () => 1, { retry: 2 });
          } catch (error) {
            return error instanceof StepFailed ? [error.step, error.errorType, error.reason] : "another error";
          }
          return "no error";
        },
      }),
    );
    log.begin();
    log.stepFailed(0, "OSError", "first");
    expect(waiting(await log.replayed()).steps).toEqual(["flaky 2"]);
    log.stepFailed(0, "OSError", "second", 2);
    expect(outcomeOf(await log.replayed())).toEqual(["flaky", "OSError", "second"]);
  });

  test("a handler stops a running step", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async (_payload: null, ctx) => {
          const stop = new AbortController();
          chat.on(() => stop.abort(new Error("stopped")));
          const generating = ctx.step("generate", () => "text", { signal: stop.signal });
          return generating.catch((error: unknown) => (error as Error).message);
        },
      }),
    );
    log.begin();
    log.record("chat", "stop");
    const execution = await log.replayed();
    expect([outcomeOf(execution), [...execution.steps.cancelled]]).toEqual(["stopped", [1]]);
  });

  test("is cancelled once, and cleans up with steps", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async (_payload: null, ctx) => {
          try {
            await ctx.sleep("1h");
          } catch (error) {
            await ctx.step("clean up", () => 1);
            expect(ctx.signal.aborted).toBe(true);
            throw error;
          }
        },
      }),
    );
    log.begin();
    log.cancel();
    expect(waiting(await log.replayed())).toMatchObject({ steps: ["clean up 1"], suspendable: false });
    log.stepReturned(1, 1);
    expect(outcomeOf(await log.replayed())).toBe("cancelled");
  });

  test("that swallows its cancel is completed", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async () => {
          const answer = await approval.wait().catch((error: unknown) => error instanceof RunCancelled);
          return answer;
        },
      }),
    );
    log.begin();
    log.cancel();
    expect(outcomeOf(await log.replayed())).toBe(true);
  });

  test("that does real I/O outside a step is told what to write instead", async () => {
    const log = Log.of(task({ id: "t", run: async () => readFile("/etc/hostname", "utf8") }));
    log.begin();
    expect(outcomeOf(await log.replayed())).toMatch(/^UnjournaledAwait: a file was used .* await ctx\.step\("name"/);
  });

  test("that does other things than its log says is told both sides", async () => {
    const log = Log.of(task({ id: "t", run: async (_payload: null, ctx) => ctx.sleep("1s") }));
    log.begin();
    log.stepReturned(0, 1);
    await expect(log.replayed()).rejects.toThrow(
      /the log: {3}operation 0 is a step\n {2}this code: operation 0 is timer/,
    );
  });

  test("a handler that throws is reported, and delivery goes on", async () => {
    const heard: string[] = [];
    const log = Log.of(
      task({
        id: "t",
        run: async () => {
          chat.on(function listen(text) {
            heard.push(text);
            if (text === "bad") throw new TypeError("cannot hear this");
          });
          await approval.wait();
        },
      }),
    );
    log.begin();
    log.record("chat", "bad");
    log.record("chat", "good");
    const { handlerFailures, consumed } = (await log.replayed()).checkpoint();
    expect(heard).toEqual(["bad", "good"]);
    expect(handlerFailures).toMatchObject([{ streamId: "chat", seq: 1n, handler: "listen", errorType: "TypeError" }]);
    expect(consumed).toMatchObject([{ streamId: "chat", cursor: 2n }]);
  });

  test("a handler's call that the run's cancel interrupts is no failure", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async (_payload: null, ctx) => {
          chat.on(async (text) => ctx.step("store", () => text));
          await approval.wait();
        },
      }),
    );
    log.begin();
    log.record("chat", "one");
    log.cancel();
    const execution = await log.replayed();
    expect([outcomeOf(execution), execution.checkpoint().handlerFailures]).toEqual(["cancelled", []]);
  });

  test("takes no more records when its function has ended, but ends the calls that have begun", async () => {
    const log = Log.of(
      task({
        id: "t",
        run: async (_payload: null, ctx) => {
          chat.on(async (text) => ctx.step("store", () => text));
          await approval.wait();
          return "done";
        },
      }),
    );
    log.begin();
    log.record("chat", "one");
    log.record("approval", null);
    log.record("chat", "two");
    const waits = await log.replayed();
    expect([waits.ended, waiting(waits).steps]).toEqual([false, ["store 1"]]);
    log.stepReturned(2, "one");
    const ended = await log.replayed();
    expect(outcomeOf(ended)).toBe("done");
    expect(ended.checkpoint().consumed).toMatchObject([
      { streamId: "chat", cursor: 1n },
      { streamId: "approval", cursor: 1n },
    ]);
  });
});
