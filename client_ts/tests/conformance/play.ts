/** Plays a vector with nothing but the contract: raw calls over one connection. */

import { randomUUID } from "node:crypto";
import { fromJson } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { Exchange } from "./exchange.js";
import { check, errorOfCall, Mismatch, toJson } from "./match.js";
import { streamingMethod, unaryMethod } from "./methods.js";
import { sign } from "./sign.js";
import { type JsonObject, resolve, save, text, type Variables, type Vector } from "./vector.js";

const KEYS = ["rpc", "as", "request", "response", "error", "save", "at_once", "exchange", "end", "hold"];
const OTHER_KEYS = [["sign", "save"], ["server"], ["held", "exchange", "error", "end"]];

export interface Played {
  transport: Transport;
  /** For the server's API keys. */
  variables: Variables;
  /** Does to the server what a step with `server` says. */
  own?: (command: string) => Promise<void>;
}

/** Resolves to the number of steps played; rejects with the step and each difference. */
export async function play(vector: Vector, { transport, variables: keys, own }: Played): Promise<number> {
  const variables: Variables = { apiKey: "", ...keys, ...vector.variables, unique: randomUUID().replaceAll("-", "") };
  const held = new Map<string, Exchange[]>();

  async function step(each: JsonObject): Promise<void> {
    checkKeys(each);
    if ("sign" in each) {
      variables[text(each["save"])] = sign(resolve(each["sign"] ?? null, variables) as JsonObject);
    } else if ("server" in each) {
      if (own === undefined) throw new Error("only a vector with `server: own` does something to it");
      await own(text(each["server"]));
    } else if ("held" in each) {
      await holdOn(each);
    } else if ("exchange" in each) {
      await exchange(each);
    } else {
      await unary(each);
    }
  }

  async function unary(each: JsonObject): Promise<void> {
    const method = unaryMethod(text(each["rpc"]));
    const request = fromJson(method.input, resolve(each["request"] ?? null, variables));
    const answers = await Promise.all(
      Array.from({ length: Number(each["at_once"] ?? 1) }, async () => {
        try {
          const answer = await transport.unary(method, undefined, undefined, headersOf(each), request);
          return { response: toJson(method.output, answer.message), error: undefined };
        } catch (failed) {
          return { response: {}, error: errorOfCall(failed) };
        }
      }),
    );
    for (const { response, error } of answers) {
      if ("error" in each || error !== undefined)
        check(resolve(each["error"] ?? "no error", variables), error, "error");
      check(resolve(each["response"] ?? {}, variables), response, "response");
    }
    save(each["save"], answers[0]?.response ?? {}, variables);
  }

  async function exchange(each: JsonObject): Promise<void> {
    const method = streamingMethod(text(each["rpc"]));
    const calls = Array.from(
      { length: Number(each["at_once"] ?? 1) },
      () => new Exchange(transport, method, headersOf(each), variables),
    );
    if ("hold" in each) held.set(text(each["hold"]), calls);
    try {
      await Promise.all(calls.map((call) => call.play(each)));
    } finally {
      if (!("hold" in each)) calls.forEach((call) => call.cancel());
    }
  }

  /** Goes on with calls that are held, and lets them go. */
  async function holdOn(each: JsonObject): Promise<void> {
    const calls = held.get(text(each["held"])) ?? [];
    if (calls.length === 0) throw new Error(`no call is held as ${text(each["held"])}`);
    held.delete(text(each["held"]));
    try {
      await Promise.all(calls.map((call) => call.play(each)));
    } finally {
      calls.forEach((call) => call.cancel());
    }
  }

  function headersOf(each: JsonObject): Headers {
    const secret = resolve(each["as"] ?? "${apiKey}", variables);
    return new Headers(secret === "" ? {} : { authorization: `Bearer ${text(secret)}` });
  }

  let played = 0;
  try {
    for (const each of vector.steps) {
      played += 1;
      await step(each);
    }
  } catch (error) {
    const what = text(vector.steps[played - 1]?.["rpc"] ?? Object.keys(vector.steps[played - 1] ?? {})[0]);
    if (!(error instanceof Mismatch)) throw error;
    throw new Mismatch(`${vector.name} (${vector.why})\nstep ${played}, ${what}:\n${error.message}`, { cause: error });
  } finally {
    for (const call of [...held.values()].flat()) call.cancel();
  }
  return played;
}

function checkKeys(step: JsonObject): void {
  const keys = Object.keys(step);
  const allowed = "rpc" in step ? KEYS : OTHER_KEYS.find(([first = ""]) => first in step);
  if (!keys.every((key) => allowed?.includes(key))) throw new Error(`these keys make no step: ${keys.join(", ")}`);
}
