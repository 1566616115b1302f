/** Reads conformance vectors: see tests/conformance/README.md for the format. */

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

export const DIRECTORY = fileURLToPath(new URL("../../../tests/conformance", import.meta.url));

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = Record<string, Json>;
export type Variables = JsonObject;

/** One case. `variables` are those of its `for_each`; steps add to a copy of them. */
export interface Vector {
  readonly name: string;
  readonly why: string;
  readonly steps: readonly JsonObject[];
  readonly variables: Variables;
  readonly client: string | undefined;
  readonly server: string;
}

const KEYS = new Set(["name", "why", "steps", "for_each", "client", "server"]);

/** Every vector of every file, one for each case of a `for_each`. */
export function loadVectors(): Vector[] {
  return filesIn("vectors").flatMap(([file, raw]) =>
    raw.flatMap((vector) => {
      for (const key of Object.keys(vector)) {
        if (!KEYS.has(key)) throw new Error(`${file}: ${text(vector["name"])}: unknown key ${key}`);
      }
      return casesOf(vector).map(([suffix, variables]) => ({
        name: `${file}/${text(vector["name"])}${suffix}`,
        why: text(vector["why"]),
        steps: vector["steps"] as JsonObject[],
        variables,
        client: vector["client"] as string | undefined,
        server: (vector["server"] as string | undefined) ?? "open",
      }));
    }),
  );
}

/** Each YAML file of a folder, with what it lists. */
export function filesIn(folder: string): [string, JsonObject[]][] {
  const files = readdirSync(path.join(DIRECTORY, folder)).filter((file) => file.endsWith(".yaml"));
  return files.sort().map((file) => {
    const yaml = readFileSync(path.join(DIRECTORY, folder, file), "utf8");
    return [file.replace(/\.yaml$/, ""), parse(yaml, { maxAliasCount: -1 }) as JsonObject[]];
  });
}

/** The cases of a `for_each`, each with what it adds to the name; one without it where there is none. */
export function casesOf(raw: JsonObject): [string, Variables][] {
  const cases = (raw["for_each"] as Variables[] | undefined) ?? [{}];
  return cases.map((variables) => ["case" in variables ? `/${text(variables["case"])}` : "", variables]);
}

/** A value as text. */
export function text(value: Json | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}

/** `value` with its references and repetitions replaced. A reference that is a whole string may become anything. */
export function resolve(value: Json, variables: Variables): Json {
  if (typeof value === "string") {
    const whole = /^\$\{(\w+)\}$/.exec(value)?.[1];
    if (whole !== undefined && whole !== "number") return resolve(known(variables, whole), variables);
    return value.replace(/\$\{(\w+)\}/g, (_, name: string) => text(known(variables, name)));
  }
  if (Array.isArray(value)) return value.map((each) => resolve(each, variables));
  if (value === null || typeof value !== "object") return value;
  if ("repeat" in value && "times" in value) {
    const { before = "", repeat, times, after = "" } = value as Record<string, string> & { times: never };
    return before + text(repeat).repeat(Number(times)) + after;
  }
  if ("copies" in value && "times" in value) {
    return Array.from({ length: Number(value["times"]) }, (_, index) =>
      resolve(value["copies"] ?? null, { ...variables, number: index + 1 }),
    );
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, resolve(each, variables)]));
}

/** A mapping from names to paths, as in `save: {run: run.runId}`: sets the variables. */
export function save(paths: Json | undefined, from: Json, variables: Variables): void {
  for (const [name, where] of Object.entries((paths ?? {}) as Record<string, string>)) {
    variables[name] = where.split(".").reduce<Json>((value, key) => (value as JsonObject)[key] as Json, from);
  }
}

function known(variables: Variables, name: string): Json {
  const value = variables[name];
  if (value === undefined) throw new Error(`no variable is named ${name}`);
  return value;
}
