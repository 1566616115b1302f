/**
 * The engine of the worker at the other end of a pipe: a JSON request a line on stdin, its answer on stdout.
 *
 * tests/support/replay/typescript.py is at this end's other side.
 */

import { readSync } from "node:fs";
import { Diverged } from "../../src/worker/engine/errors.js";
import { currentScope } from "../../src/worker/engine/scope.js";
import { installRunGlobals } from "../../src/worker/realm/globals.js";
import { watchForTrespass } from "../../src/worker/realm/trespass.js";
import { Lives, type Request } from "./lives.js";

installRunGlobals();
watchForTrespass({ fails: true, report: () => undefined });

const lives = new Lives();
let unhandled: unknown;
process.on("unhandledRejection", (error) => {
  // What a task left behind when it ended is nobody's.
  if (currentScope()?.execution.ended !== true) unhandled ??= error;
});

function refusal(error: unknown): unknown {
  if (error instanceof Diverged) {
    const { offset, expected, issued } = error;
    return { diverged: { offset, expected, issued } };
  }
  return { failed: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** Waits without an event loop, which has nothing else to do: between two requests nothing happens to a run. */
function* requests(): Generator<string> {
  const chunk = Buffer.alloc(65_536);
  let text = "";
  for (let size = readSync(0, chunk); size > 0; size = readSync(0, chunk)) {
    text += chunk.toString("latin1", 0, size);
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    yield* lines;
  }
}

for (const line of requests()) {
  let answer: unknown;
  try {
    answer = { value: await lives.answer(JSON.parse(line) as Request) };
  } catch (error) {
    answer = refusal(error);
  }
  if (unhandled !== undefined) {
    answer = refusal(unhandled);
    unhandled = undefined;
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
