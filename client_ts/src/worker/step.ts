/** `step(fn)`: a function that is a step wherever a task calls it. */

import { stepPolicy, type StepOptions } from "./engine/context.js";
import { currentExecution } from "./engine/scope.js";

/**
 * `await wrapped(...)` in a task is a step, which runs once and is recorded, with copies of its arguments. Anywhere else,
 * in another step too, it is a plain call. Named after the function, or by `options.name`.
 *
 * Throws RangeError where the options make no sense, TypeError where a function without a name is given none.
 */
export function step<A extends unknown[], R>(
  call: (...args: A) => R,
  options: StepOptions & { readonly name?: string } = {},
): (...args: A) => Promise<Awaited<R>> {
  const name = options.name ?? call.name;
  if (!name) throw new TypeError("a step needs a name: give the function one, or step(fn, { name })");
  const policy = stepPolicy(options);
  return async (...args): Promise<Awaited<R>> => {
    const execution = currentExecution();
    if (execution === undefined) return await call(...args);
    const copied = structuredClone(args);
    const request = { ...policy, call: { kind: "function" as const, run: () => call(...structuredClone(copied)) } };
    return (await execution.steps.run("step", name, request)) as Awaited<R>;
  };
}
