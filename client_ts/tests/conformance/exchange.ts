/** A streaming call, for as long as a vector needs it. */

import { PassThrough } from "node:stream";
import { fromJson, type Message } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { check, errorOfCall, Mismatch, toJson } from "./match.js";
import { type AnyStreaming } from "./methods.js";
import { type Json, type JsonObject, resolve, save, type Variables } from "./vector.js";

export class Exchange {
  readonly #input = new PassThrough({ objectMode: true });
  readonly #cut = new AbortController();
  readonly #responses: Promise<AsyncIterator<Message>>;

  constructor(
    transport: Transport,
    private readonly method: AnyStreaming,
    headers: Headers,
    private readonly variables: Variables,
  ) {
    const messages = this.#input as unknown as AsyncIterable<Message>;
    const call = transport.stream(method, this.#cut.signal, undefined, headers, messages as never);
    this.#responses = call.then((response) => (response.message as AsyncIterable<Message>)[Symbol.asyncIterator]());
    this.#responses.catch(() => {}); // whoever reads hears of it
  }

  /** Plays the frames, and looks how the call ends: it fails, or ends by itself with OK, or goes on. */
  async play(step: JsonObject): Promise<void> {
    try {
      for (const [index, frame] of ((step["exchange"] ?? []) as JsonObject[]).entries()) {
        if ("send" in frame) this.#send(resolve(frame["send"] ?? null, this.variables));
        else await this.#receive(frame, index + 1);
      }
      if ("error" in step || "end" in step) await this.#end(step);
    } catch (error) {
      if (error instanceof Mismatch) throw error;
      check(resolve(step["error"] ?? "no error", this.variables), errorOfCall(error), "error");
    }
  }

  cancel(): void {
    this.#cut.abort(new Error("the vector is done with this call"));
    this.#input.destroy();
  }

  #send(request: Json): void {
    this.#input.write(fromJson(this.method.input, request));
    if (this.method.methodKind === "server_streaming") this.#input.end();
  }

  async #receive(frame: JsonObject, number: number): Promise<void> {
    const next = await (await this.#responses).next();
    if (next.done) throw new Mismatch(`frame ${number}: expected a response, the call ended`);
    const response = toJson(this.method.output, next.value);
    check(resolve(frame["receive"] ?? null, this.variables), response, `frame ${number}`);
    save(frame["save"], response, this.variables);
  }

  async #end(step: JsonObject): Promise<void> {
    if (step["end"] === "after_half_close") this.#input.end();
    const next = await (await this.#responses).next();
    if (!next.done) {
      throw new Mismatch(`expected the call to end, got ${JSON.stringify(toJson(this.method.output, next.value))}`);
    }
    if ("error" in step) throw new Mismatch(`expected ${JSON.stringify(step["error"])}, the call ended with OK`);
  }
}
