/** The primitives, one part each. The names are those of tests/support/replay/shapes.py. */

import { setTimeout as delay } from "node:timers/promises";
import { output, step, StepFailed, stepKey, waitAny } from "../../src/worker/index.js";
import { approval, chat, late, LetGo, type Part, type Value } from "./body.js";
import type { World } from "./world.js";

/** Its value does not survive its serial form as it is: that gives a text. */
const UNIX_EPOCH = new Date(0);

/** Appends `count` records, which say what belongs together; in some executions it fails half way. */
function tell(world: World, count: number, fails = false): number {
  const key = stepKey();
  const execution = world.newExecution(key);
  const stops = fails && execution % 3 > 0 ? Math.floor(count / 2) : count;
  for (let number = 0; number < stops; number++) {
    output(number % 3 > 0 ? "out" : "other").append({ step: key, execution, number, count });
  }
  if (stops < count) throw new Error("half way");
  return count;
}

async function letGoIsNull<T>(promise: Promise<T>, instead: string): Promise<T | string> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof LetGo) return instead;
    throw error;
  }
}

function inTime<T>(ms: number, call: (signal: AbortSignal) => Promise<T>): Promise<T | string> {
  const signal = AbortSignal.timeout(ms);
  return call(signal).catch((error: unknown) => {
    if (error === signal.reason) return "timed out";
    throw error;
  });
}

export const PARTS: Readonly<Record<string, Part>> = {
  async one_step(body) {
    const given = await body.step("work", { part: body.index, heard: [...body.heard], at: UNIX_EPOCH as unknown });
    return [given, typeof given.at];
  },

  gathered_steps: (body) => Promise.all([0, 1, 2].map((number) => body.step(`gathered-${number}`, number))),

  a_wait: (body) => body.receive("wait", body.timeout),

  a_once: (body) => body.receive("once", 3),

  async a_glance(body) {
    return [await body.receive("once", 0), approval.peek(), late.peek()];
  },

  async a_sleep(body) {
    const before = body.now();
    await delay(2_500);
    if (body.now() < before + 2_500) throw new Error("slept too little");
    return body.now();
  },

  step_against_time: (body) => inTime(1_000, (signal) => body.step("slow", "slow", { signal })),

  async failing_step(body) {
    try {
      await body.ctx.step("fail", () => {
        throw new SyntaxError("missing");
      });
    } catch (error) {
      if (error instanceof StepFailed) return [error.name, error.errorType, error.reason];
      throw error;
    }
    return undefined;
  },

  async declared_error(body) {
    const fail = (): void => {
      throw new RangeError("as declared");
    };
    try {
      await body.ctx.step("fail", fail, { raises: [RangeError] });
    } catch (error) {
      if (error instanceof RangeError) return error.message;
      throw error;
    }
    return undefined;
  },

  async retried_step(body) {
    const flaky = (): number => {
      const tries = body.world.ran.get(stepKey()) ?? 0;
      if (tries % 3 > 0) throw new Error(`try ${tries}`);
      return tries;
    };
    try {
      return await body.ctx.step("flaky", flaky, { retry: { maxAttempts: 4, firstDelay: "200ms" } });
    } catch (error) {
      if (error instanceof StepFailed) return error.reason;
      throw error;
    }
  },

  async at_most_once(body) {
    try {
      return await body.step("once-only", "done", { atMostOnce: true });
    } catch (error) {
      if (error instanceof StepFailed) return error.errorType;
      throw error;
    }
  },

  until_heard(body) {
    const one = async (number: number): Promise<number> => {
      const before = await body.step(`before-${number}`, number);
      await body.hearing.wait(body.ctx.signal);
      return body.step(`after-${number}`, before + body.heard.length);
    };
    return Promise.all([one(1), one(2)]);
  },

  two_waits: (body) => Promise.all([body.receive("wait", 5), body.receive("wait", 5)]),

  async wait_against_time(body) {
    const asked = body.now();
    return inTime(1_500, async (signal) => body.noted(await approval.wait({ signal }), asked, 1.5));
  },

  async wait_cancelled_by_a_callback(body) {
    const letGo = new AbortController();
    const awake = new AbortController();
    const sleeping = body.ctx.sleep("2s", { signal: awake.signal });
    sleeping.then(
      () => letGo.abort(new LetGo()),
      () => undefined,
    );
    try {
      return await letGoIsNull(body.receive("wait", 3, letGo.signal), "let go");
    } finally {
      awake.abort();
    }
  },

  /** A handler cancels the receive, perhaps in the very turn in which that gets its record: it goes back. */
  async wait_given_up_by_a_handler(body) {
    const letGo = new AbortController();
    const waiting = letGoIsNull(body.receive("once", 2, letGo.signal), "cancelled");
    await Promise.resolve();
    const giveUp = (): void => letGo.abort(new LetGo());
    const subscriptions = [approval.on(giveUp), chat.on(giveUp)];
    subscriptions[0]?.off();
    try {
      return await waiting;
    } finally {
      subscriptions[1]?.off();
    }
  },

  async any_of_two(body) {
    const asked = body.now();
    const result = await waitAny([approval, late], { timeout: "4s" });
    body.see("from", result.stream?.id ?? null);
    return body.noted(result, asked, 4);
  },

  async drained(body) {
    const values = await approval.drain();
    for (const value of values) body.took("approval", value);
    return values;
  },

  async iterated(body) {
    const got: Value[] = [];
    for await (const value of approval) {
      body.took("approval", value);
      if (got.push(value) === 2) break;
    }
    return got;
  },

  /** A sibling's error ends the others, whose clean-up uses steps in an order that must not change. */
  async failing_group(body) {
    const group = new AbortController();
    const one = async (number: number): Promise<void> => {
      try {
        await body.receive("wait", 20, group.signal);
      } catch (error) {
        await body.step(`clean-${number}`, number);
        throw error;
      }
    };
    const fail = async (): Promise<void> => {
      await body.step("before-failing", 0);
      group.abort(new LetGo("group"));
    };
    const ends = await Promise.allSettled([one(0), one(1), one(2), fail()]);
    body.ctx.signal.throwIfAborted();
    return ends.map((end) => (end.status === "rejected" ? String(end.reason) : end.status));
  },

  async first_of_many(body) {
    const losers = new AbortController();
    const { signal } = losers;
    const racers = [0, 1, 2, 3].map((number) => body.step(`racer-${number}`, number, { signal }));
    const first = await Promise.race(racers);
    losers.abort(new LetGo());
    await Promise.allSettled(racers);
    return first;
  },

  async as_they_complete(body) {
    const order: number[] = [];
    const one = async (number: number) => order.push(await body.step(`runner-${number}`, number));
    await Promise.all([0, 1, 2].map(one));
    return order;
  },

  async through_a_queue(body) {
    const ready: number[] = [];
    const wake: ((value: number) => void)[] = [];
    const get = (): Promise<number> =>
      new Promise((resolve) => {
        const value = ready.shift();
        if (value === undefined) wake.push(resolve);
        else resolve(value);
      });
    const produce = async (): Promise<void> => {
      for (const number of [0, 1]) {
        const value = await body.step(`produce-${number}`, number);
        const next = wake.shift();
        if (next === undefined) ready.push(value);
        else next(value);
      }
    };
    const consume = async (): Promise<number[]> => [await get(), await get()];
    const [got] = await Promise.all([consume(), produce()]);
    return got;
  },

  async under_a_lock(body) {
    const order: number[] = [];
    let lock: Promise<unknown> = Promise.resolve();
    const one = (number: number): Promise<unknown> => {
      lock = lock.then(async () => order.push(await body.step(`locked-${number}`, number)));
      return lock;
    };
    await Promise.all([0, 1, 2].map(one));
    return order;
  },

  async chance({ ctx }) {
    const ours = [ctx.random(), ctx.uuid(), ctx.now().toISOString()];
    return [...ours, Math.random(), crypto.randomUUID(), new Date().toISOString(), performance.now()];
  },

  async calls_outside(body) {
    const receipt = await body.ctx.send("run_other", approval, { i: body.index });
    const run = await body.ctx.startRun("other", { i: body.index });
    return [receipt.seq, run.id];
  },

  /** An exception in flight, and a generator, both kept over a wait. */
  async cleaning_up(body) {
    function* count(): Generator<number> {
      for (let number = 0; number < 5; number++) yield number;
    }
    const numbers = count();
    numbers.next();
    try {
      try {
        throw new TypeError("in flight");
      } catch (error) {
        await body.receive("wait", 2);
        return [(error as Error).message, [...numbers]];
      }
    } finally {
      await delay(0);
    }
  },

  /** The "stop generating" button: a handler cancels the running step. */
  stopped_step(body) {
    body.generating = new AbortController();
    return letGoIsNull(body.step("generate", "text", { signal: body.generating.signal }), "stopped");
  },

  /** Appends outside of steps, before and behind a wait. */
  async announcement(body) {
    body.ctx.output("out").append({ said: body.index, at: body.now() });
    const got = await body.receive("wait", 2);
    for (const number of [0, 1]) output("other").append({ said: body.index, got, number });
    return got;
  },

  told_answer: (body) => body.ctx.step("tell", () => tell(body.world, 5)),

  async answer_told_again(body) {
    const again = step(() => tell(body.world, 6, true), {
      name: "tell again",
      retry: { maxAttempts: 4, firstDelay: "0s" },
    });
    try {
      return await again();
    } catch (error) {
      if (error instanceof StepFailed) return error.reason;
      throw error;
    }
  },

  answers_at_once: (body) =>
    Promise.all([0, 1, 2].map((number) => body.ctx.step(`tell-${number}`, () => tell(body.world, 4)))),

  /** Left running when the function ends. */
  async background(body) {
    const ticking = async (): Promise<void> => {
      for (;;) {
        await body.ctx.sleep("1s");
        body.see("tick", body.now());
      }
    };
    ticking().catch(() => undefined);
  },

  /** A receive takes a record, perhaps while one before it waits for a busy handler, whose turn never comes. */
  async overtaking(body) {
    const subscription = approval.on(async (value) => {
      body.see("heard", "approval", value.i);
      await body.ctx.sleep("4s");
    });
    let value: Value;
    try {
      await body.ctx.sleep("2s");
      value = (await approval.wait()).unwrap();
    } finally {
      subscription.off();
    }
    body.see("overtook", "approval", value.i);
    return value;
  },
};
