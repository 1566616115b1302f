// A page for tests/browser: shows one run by the hooks, and sends to it. What it is to show stands in its address.
import { create, toJson } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { connect, inputStream, type SendResult } from "@midstream/client";
import {
  MidstreamProvider,
  type SendOptions,
  type SendOutcome,
  useConnection,
  useInputStreamSend,
  useRecords,
  useRun,
} from "@midstream/client/react";
import { StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { NoteSchema } from "../gen/acme/v1/agent_pb.js";
import { EverythingSchema } from "../gen/acme/v1/everything_pb.js";

declare global {
  interface Window {
    /** The hook's own `send`, for values and options that no button has. */
    send: (value: unknown, options?: SendOptions) => Promise<SendOutcome>;
    unhandled: string[];
    /** What the door says of each JSON text: the wrong fields, or undefined where it was stored. */
    atTheDoor: (stream: string, texts: readonly string[]) => Promise<(Record<string, string> | undefined)[]>;
    /** A message with one of each kind of field, there and back: as it was sent, as it came, and whether 64 bits are exact. */
    thereAndBack: () => Promise<readonly unknown[]>;
  }
}

const address = new URLSearchParams(location.search);
const runId = address.get("run") ?? "";
const stream = address.get("stream") ?? "s";
const client = connect({ url: address.get("midstream") ?? "", accessToken: address.get("token") ?? undefined });

const everything = inputStream(EverythingSchema);

window.atTheDoor = async (id, texts) => {
  const verdicts: (Record<string, string> | undefined)[] = [];
  for (const text of texts) {
    const result = await patiently(() => client.sendMany(runId, id, [JSON.parse(text)]));
    verdicts.push(result?.ok ? undefined : { reason: result?.error.reason ?? "no answer", ...result?.error.fields });
  }
  return verdicts;
};

/** A token may send only so much at a time: the server says how long to wait. */
async function patiently(send: () => Promise<SendResult[]>): Promise<SendResult | undefined> {
  for (;;) {
    const [result] = await send();
    if (result?.ok !== false || result.error.reason !== "RATE_LIMITED") return result;
    const { retryAfterMs = 100 } = result.error;
    await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
  }
}

window.thereAndBack = async () => {
  const value = create(EverythingSchema, {
    big: -(2n ** 63n),
    bigger: 2n ** 64n - 1n,
    raw: new Uint8Array([0, 255]),
    colour: 77 as never,
    counts: { "a b": 2n ** 53n + 1n },
    answer: { case: "nested", value: { answer: { case: "text", value: "deep" } } },
    children: [{ children: [{ big: 1n }] }],
    anything: anyPack(NoteSchema, create(NoteSchema, { text: "any" })),
    shape: { list: [1, null, { a: "b" }] },
    perhaps: "",
    score: 0.5,
  });
  await client.send(runId, everything, value);
  const came = (await client.peek(runId, everything))?.value;
  // Any has a JSON form only where its type is known.
  const known = came && toJson(EverythingSchema, { ...came, anything: undefined });
  return [toJson(EverythingSchema, { ...value, anything: undefined }), known, came?.bigger === 2n ** 64n - 1n];
};

window.unhandled = [];
addEventListener("unhandledrejection", (event) => window.unhandled.push(String(event.reason)));

function Page() {
  const { send, error, lastReceipt, isSending } = useInputStreamSend(stream, runId);
  const { run, error: runError } = useRun(runId);
  const { records, pending, error: recordsError } = useRecords(runId, { stream });
  const connection = useConnection();

  useEffect(() => {
    window.send = send;
  }, [send]);

  return (
    <main>
      {/* First, so that nothing moves them between two clicks. */}
      <button id="send" onClick={() => void send(`clicked ${String(records.length)}`)}>
        Send
      </button>
      <button id="send-once" onClick={() => void send("once", { key: "once" })}>
        Send once
      </button>
      <output id="state">{run?.state}</output>
      <output id="connection">{connection}</output>
      <output id="sending">{isSending ? "sending" : ""}</output>
      <output id="receipt">{lastReceipt?.seq}</output>
      {[["send-error", error] as const, ["run-error", runError] as const, ["records-error", recordsError] as const].map(
        ([id, failure]) => (
          <p key={id} id={id} data-reason={failure?.reason} data-code={failure?.code}>
            {failure?.message}
          </p>
        ),
      )}
      <ol id="records">
        {records.map((record) => (
          <li key={record.seq} data-seq={record.seq}>
            {JSON.stringify(record.value).slice(0, 100)}
          </li>
        ))}
      </ol>
      <ol id="pending">
        {pending.map((record) => (
          <li key={record.idempotencyKey} data-status={record.status}>
            {JSON.stringify(record.value).slice(0, 100)}
          </li>
        ))}
      </ol>
    </main>
  );
}

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MidstreamProvider client={client}>
        <Page />
      </MidstreamProvider>
    </StrictMode>,
  );
}
