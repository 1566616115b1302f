import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { anySignal } from "../signals.js";
import { codeNamed, deadlineExceeded, described, MidstreamError, type StatusCode } from "../error.js";

/**
 * The Connect protocol (https://connectrpc.com/docs/protocol) by `fetch`: binary messages, unary and server-streaming.
 *
 * connect-web has the JSON encoding of protobuf and client streaming besides, which would double a page's download.
 */
export function createFetchTransport(baseUrl: string): Transport {
  return {
    async unary(method, signal, timeoutMs, header, input) {
      const deadline = startDeadline(signal, timeoutMs);
      try {
        const headers = headersOf(header, timeoutMs, "application/proto");
        const body = toBinary(method.input, create(method.input, input)) as BodyInit;
        const url = `${baseUrl}/${method.parent.typeName}/${method.name}`;
        const response = await fetch(url, { method: "POST", headers, body, signal: deadline.signal });
        if (!response.ok) throw await refusal(response);
        const bytes = new Uint8Array(await response.arrayBuffer());
        checkType(response, "application/proto");
        const message = fromBinary(method.output, bytes);
        return {
          stream: false,
          service: method.parent,
          method,
          header: response.headers,
          trailer: new Headers(),
          message,
        };
      } catch (error) {
        throw deadline.explain(error);
      } finally {
        deadline.done();
      }
    },

    async stream(method, signal, timeoutMs, header, input) {
      const deadline = startDeadline(signal, timeoutMs);
      try {
        const headers = headersOf(header, timeoutMs, "application/connect+proto");
        const first = await input[Symbol.asyncIterator]().next();
        if (first.done || method.methodKind !== "server_streaming") {
          throw new MidstreamError("fetch cannot stream requests; use gRPC", { code: "UNIMPLEMENTED" });
        }
        const body = enveloped(toBinary(method.input, create(method.input, first.value))) as BodyInit;
        const url = `${baseUrl}/${method.parent.typeName}/${method.name}`;
        const response = await fetch(url, { method: "POST", headers, body, signal: deadline.signal });
        if (!response.ok) throw await refusal(response);
        checkType(response, "application/connect+proto");
        const message = messages(method.output, response, deadline);
        return {
          stream: true,
          service: method.parent,
          method,
          header: response.headers,
          trailer: new Headers(),
          message,
        };
      } catch (error) {
        deadline.done();
        throw deadline.explain(error);
      }
    },
  };
}

type Deadline = ReturnType<typeof startDeadline>;

const COMPRESSED = 1;
const END = 2;
const PREFIX_BYTES = 5;

/** The messages in a response's body. Leaving them early ends the response. */
async function* messages<O extends DescMessage>(
  output: O,
  response: Response,
  deadline: Deadline,
): AsyncGenerator<MessageShape<O>, void, undefined> {
  const reader = (response.body ?? new Blob().stream()).getReader();
  let buffered = new Uint8Array(0);
  try {
    for (;;) {
      const lengthBytes =
        buffered.length < PREFIX_BYTES ? 0 : new DataView(buffered.buffer, buffered.byteOffset).getUint32(1);
      if (buffered.length < PREFIX_BYTES || buffered.length < PREFIX_BYTES + lengthBytes) {
        const { done, value } = await reader.read();
        if (done) throw new MidstreamError("the connection broke", { code: "UNAVAILABLE" });
        buffered = concatenated(buffered, value);
        continue;
      }
      const flags = buffered[0] ?? 0;
      const content = buffered.subarray(PREFIX_BYTES, PREFIX_BYTES + lengthBytes);
      buffered = buffered.subarray(PREFIX_BYTES + lengthBytes);
      if (flags & COMPRESSED) throw new MidstreamError("the server compressed what it must not", { code: "DATA_LOSS" });
      if (flags & END) {
        const { error } = JSON.parse(new TextDecoder().decode(content)) as { error?: ErrorJson };
        if (error) throw toError(error, "UNKNOWN");
        return;
      }
      yield fromBinary(output, content);
    }
  } catch (error) {
    throw deadline.explain(error);
  } finally {
    deadline.done();
    await reader.cancel().catch(() => {});
  }
}

/** An error as the Connect protocol writes it. */
interface ErrorJson {
  code?: string;
  message?: string;
  details?: { type?: string; value?: string }[];
}

/** What an HTTP status says where there is no more to read, such as from a proxy. */
const STATUS_CODES: Record<number, StatusCode> = {
  400: "INTERNAL",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "UNIMPLEMENTED",
  429: "UNAVAILABLE",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "UNAVAILABLE",
};

async function refusal(response: Response): Promise<MidstreamError> {
  const fallback = STATUS_CODES[response.status] ?? "UNKNOWN";
  try {
    return toError((await response.json()) as ErrorJson, fallback);
  } catch {
    return new MidstreamError(`HTTP ${response.status} ${response.statusText}`.trim(), { code: fallback });
  }
}

function toError(error: ErrorJson, fallback: StatusCode): MidstreamError {
  const code = codeNamed(error.code) ?? fallback;
  const details = (error.details ?? []).map(({ type = "", value = "" }) => ({
    type,
    value: Uint8Array.from(atob(value.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0)),
  }));
  return described(error.message || `HTTP error ${code}`, code, details);
}

function checkType(response: Response, expected: string): void {
  const type = response.headers.get("content-type") ?? "";
  if (type.split(";")[0] === expected) return;
  // A login page of a proxy, say.
  throw new MidstreamError(`${response.url} answered with ${type || "no content type"}, not as a Midstream server`, {
    code: "UNIMPLEMENTED",
  });
}

function headersOf(header: HeadersInit | undefined, timeoutMs: number | undefined, contentType: string): Headers {
  const headers = new Headers(header);
  headers.set("content-type", contentType);
  headers.set("connect-protocol-version", "1");
  if (timeoutMs) headers.set("connect-timeout-ms", String(Math.ceil(timeoutMs)));
  return headers;
}

function enveloped(message: Uint8Array): Uint8Array {
  const envelope = new Uint8Array(PREFIX_BYTES + message.length);
  new DataView(envelope.buffer).setUint32(1, message.length);
  envelope.set(message, PREFIX_BYTES);
  return envelope;
}

function concatenated(first: Uint8Array<ArrayBuffer>, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** The caller's signal and the call's deadline in one. */
function startDeadline(caller: AbortSignal | undefined, timeoutMs: number | undefined) {
  const either = anySignal([caller]);
  let passed = false;
  const timer =
    timeoutMs === undefined || timeoutMs <= 0
      ? undefined
      : setTimeout(() => {
          passed = true;
          either.abort();
        }, timeoutMs);
  return {
    signal: either.signal,
    explain: (error: unknown) => (passed ? deadlineExceeded() : error),
    done() {
      clearTimeout(timer);
      either.done();
    },
  };
}
