/** Finds the tasks that modules export. */

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { type AnyTask, isTask } from "../task.js";

const TYPESCRIPT = /\.[cm]?tsx?$/;

/** By name. Throws where a module cannot be loaded, none exports a task, or two tasks have one name. */
export async function loadTasks(modules: readonly string[]): Promise<Map<string, AnyTask>> {
  const tasks = new Map<string, AnyTask>();
  for (const [url, exported] of await importAll(modules)) {
    for (const value of Object.values(exported)) {
      if (!isTask(value)) continue;
      const known = tasks.get(value.id);
      if (known !== undefined && known !== value)
        throw new Error(`two tasks are named "${value.id}"; the second is in ${url}`);
      tasks.set(value.id, value);
    }
  }
  if (tasks.size === 0) {
    throw new Error(`no task is exported by ${modules.join(", ")}: export const myTask = task({ id: "my-task", run })`);
  }
  return tasks;
}

/** What each module exports, by its URL. */
export async function importAll(modules: readonly string[]): Promise<Map<string, Record<string, unknown>>> {
  if (modules.some((module) => TYPESCRIPT.test(module))) await understandTypeScript();
  const imported = new Map<string, Record<string, unknown>>();
  for (const url of modules) imported.set(url, (await import(url)) as Record<string, unknown>);
  return imported;
}

/** By tsx, which reads all of TypeScript; else by Node itself, which from 22.18 on reads most of it. */
async function understandTypeScript(): Promise<void> {
  const fromProject = createRequire(pathToFileURL(`${process.cwd()}/`));
  let entry: string;
  try {
    entry = fromProject.resolve("tsx/esm/api");
  } catch {
    if ((process.features as { typescript?: unknown }).typescript) return;
    throw new Error("modules in TypeScript need tsx in your project: npm install tsx; or name the compiled ones");
  }
  // Found as for `require`, whose variant of it looks for its parts in the wrong place.
  const url = pathToFileURL(entry.replace(/\.cjs$/, ".mjs")).href;
  const { register } = (await import(url)) as { register: () => unknown };
  register();
}
