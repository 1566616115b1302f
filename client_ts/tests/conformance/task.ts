/** The task that plays the script in its payload: a worker's module, once it is compiled. */

import { streams, task, type TaskContext, waitAny } from "@midstream/client/worker";
import { type Operation, type Place, type Played, playScript, type Value } from "./script.js";

interface Payload {
  operations: Operation[];
  played?: Played[];
}

/** What came of the operations, generation by generation: one `restart` ends each but the last. */
async function play({ operations, played = [] }: Payload, ctx: TaskContext): Promise<Played[]> {
  const restart = operations.findIndex((operation) => "restart" in operation);
  if (restart < 0) return [...played, await playScript(operations, inTask(ctx))];
  played.push(await playScript(operations.slice(0, restart), inTask(ctx)));
  return ctx.restartWith({ operations: operations.slice(restart + 1), played });
}

function inTask(ctx: TaskContext): Place {
  return {
    patient: false,
    signal: ctx.signal,
    input: (id) => streams.input<Value>({ id }),
    waitAny: (all, options) => waitAny(all, options),
    send: (stream, value, key) => ctx.send(ctx.runId, stream, value, key === undefined ? {} : { key }),
    output: (stream, value) => ctx.output(stream).append(value),
    sleep: (duration, signal) => ctx.sleep(duration, signal ? { signal } : {}),
    step: (value) =>
      ctx.step("returns", () => {
        const throws =
          value !== null && typeof value === "object" && !Array.isArray(value) ? value["throws"] : undefined;
        if (throws !== undefined) throw new Error(throws as string);
        return value;
      }),
  };
}

export const warm = task({ id: "conformance-warm", run: play });
export const suspending = task({ id: "conformance-suspending", idleTimeout: "0s", run: play });
