import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { type Checkpoint, type Entry, EntrySchema } from "../../src/gen/midstream/v1/entry_pb.js";
import { streams, task, type TaskContext } from "../../src/worker/index.js";
import { Execution } from "../../src/worker/engine/execution.js";
import type { AnyTask } from "../../src/worker/task.js";
import { Log, outcomeOf } from "./log.js";

const chat = streams.input<number>({ id: "chat" });
const approval = streams.input<null>({ id: "approval" });

/** A receive takes the third record while the second waits for a handler that is busy with the first. */
async function overtake(ctx: TaskContext): Promise<number> {
  chat.on(async (value) => {
    await ctx.step("slow", () => value);
  });
  await approval.wait();
  return (await chat.once()).unwrap();
}

/** Up to the end of the task's first generation. */
function overtaken(of: unknown): Log {
  const log = new Log(of as AnyTask);
  log.begin();
  log.record("chat", 1);
  log.record("chat", 2);
  log.record("approval", null);
  log.record("chat", 3);
  log.stepReturned(2, 1);
  return log;
}

/** As the server answers the restart. */
function restart(log: Log, execution: Execution, runtime = ""): Entry {
  if (execution.restart === undefined) throw new Error("the task has not asked for a restart");
  const value = { generation: BigInt(execution.generation + 1), payload: execution.restart, runtime };
  const entry = log.append(create(EntrySchema, { fact: { case: "restarted", value } }).fact);
  entry.checkpoint = execution.checkpointForRestart();
  return entry;
}

/** The generation that the log ends with, from all of it and from what the server sends: unread ones and the end. */
async function begun({ task: of, entries }: Log): Promise<Execution[]> {
  const last = entries.at(-1) as Entry;
  const generation = last.fact.case === "restarted" ? Number(last.fact.value.generation) : 0;
  const cursors = new Map(last.checkpoint?.consumed.map(({ streamId, cursor }) => [streamId, cursor]));
  const unread = entries.filter(
    ({ fact }) => fact.case === "record" && fact.value.seq > (cursors.get(fact.value.streamId) ?? 0n),
  );
  const executions: Execution[] = [];
  for (const log of [entries, [...unread, last]]) {
    const execution = new Execution(of, { runId: "run", generation });
    for (const entry of log) await execution.apply(entry);
    executions.push(execution);
  }
  return executions;
}

function consumed(checkpoint: Checkpoint | undefined): unknown {
  return checkpoint?.consumed.map(({ streamId, cursor, beyond }) => [
    streamId,
    Number(cursor),
    ...beyond.map(({ firstSeq, lastSeq }) => `${String(firstSeq)}-${String(lastSeq)}`),
  ]);
}

describe("what a receive took before its turn", () => {
  test("is not delivered again, and what came behind it is", async () => {
    const of = task({
      id: "overtakes",
      run: async (payload: number[] | null, ctx) => {
        if (payload === null) return ctx.restartWith([await overtake(ctx)]);
        return [...payload, (await chat.wait()).unwrap(), (await chat.wait()).unwrap()];
      },
    });
    const log = overtaken(of);
    log.record("chat", 4);
    const { checkpoint } = restart(log, await log.replayed());
    expect(consumed(checkpoint)).toEqual([
      ["chat", 1, "3-3"],
      ["approval", 1],
    ]);
    for (const execution of await begun(log)) {
      expect(outcomeOf(execution)).toEqual([3, 2, 4]);
      expect(consumed(execution.checkpoint())).toEqual([["chat", 4]]);
    }
  });

  test("is kept in mind by a generation that takes nothing", async () => {
    const of = task({
      id: "overtakes-once",
      run: async (payload: number[] | null, ctx) => {
        const taken = payload ?? [await overtake(ctx)];
        if (ctx.generation < 2) return ctx.restartWith(taken);
        return [...taken, await chat.drain()];
      },
    });
    const log = overtaken(of);
    restart(log, await log.replayed());
    for (const execution of await begun(log)) {
      const second = new Log(log.task);
      second.entries.push(...log.entries);
      expect(consumed(restart(second, execution).checkpoint)).toEqual([
        ["chat", 1, "3-3"],
        ["approval", 1],
      ]);
      for (const last of await begun(second)) {
        expect(outcomeOf(last)).toEqual([3, [2]]);
        expect(consumed(last.checkpoint())).toEqual([["chat", 3]]);
      }
    }
  });
});

test("a generation stays with its language", async () => {
  const of = task({
    id: "restarts",
    run: async (payload: string | null, ctx) => Promise.resolve(payload ?? ctx.restartWith("again")),
  });
  const runs = async (runtime: string): Promise<unknown> => {
    const log = new Log(of as unknown as AnyTask);
    log.begin();
    restart(log, await log.replayed(), runtime);
    const [, execution] = await begun(log);
    return execution && outcomeOf(execution);
  };
  expect(await runs("")).toBe("again");
  expect(await runs("node99")).toBe("again");
  await expect(runs("python3.11")).rejects.toThrow("the run began in python3.11");
});
