/** A task of the parts that the fuzz has chosen. */

import { RunCancelled, task } from "../../src/worker/index.js";
import type { AnyTask } from "../../src/worker/task.js";
import { approval, Body, chat, late, stop } from "./body.js";
import { PARTS } from "./parts.js";
import type { World } from "./world.js";

/** As tests/support/replay/shapes.py draws it. */
export interface Shape {
  readonly parts: readonly string[];
  /** In seconds. */
  readonly timeout: number | null;
  readonly restarts: number;
}

export function taskOf({ parts, timeout, restarts }: Shape, world: World): AnyTask {
  const shaped = task({
    id: "fuzz",
    run: async (payload: unknown, ctx) => {
      if (world.life === undefined) throw new Error("a task's function is called in a life");
      const body = new Body(world, ctx, world.life, timeout ?? undefined);
      const out: unknown[] = [payload, chat.peek(), approval.peek()];
      body.see("begin", chat.peek());
      chat.on((value) => {
        body.see("heard", "chat", value.i);
        body.heard.push(value.i);
        body.hearing.set();
        if (value.i % 7 === 0) throw new TypeError("seven");
      });
      stop.on(async (value) => {
        body.see("heard", "stop", value.i);
        body.stop();
        body.see("audit", await body.step("audit", { i: value.i }));
      });
      try {
        for (const [index, name] of parts.entries()) {
          body.index = index;
          const part = PARTS[name];
          if (part === undefined) throw new Error(`no part is named ${name}`);
          out.push([name, await part(body), [...body.heard]]);
          body.heard = [];
          body.hearing.clear();
        }
      } catch (error) {
        if (!(error instanceof RunCancelled)) throw error;
        out.push(await body.step("clean up", "clean"));
        return { out, cancelled: true };
      }
      if (ctx.generation < restarts) ctx.restartWith({ before: out.length, generation: ctx.generation });
      late.on((value) => body.see("heard", "late", value.i));
      late.on((value) => body.see("heard too", "late", value.i));
      out.push(await body.step("end", 1));
      return { out };
    },
  });
  return shaped as unknown as AnyTask;
}
