// A page for tests/browser: shows one run by the hooks, and sends to it. What it is to show stands in its address.
import { connect } from "@midstream/client";
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

declare global {
  interface Window {
    /** The hook's own `send`, for values and options that no button has. */
    send: (value: unknown, options?: SendOptions) => Promise<SendOutcome>;
    unhandled: string[];
  }
}

const address = new URLSearchParams(location.search);
const runId = address.get("run") ?? "";
const stream = address.get("stream") ?? "s";
const client = connect({ url: address.get("midstream") ?? "", accessToken: address.get("token") ?? undefined });

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
