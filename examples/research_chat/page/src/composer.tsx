import type { MidstreamError, Run } from "@midstream/client";
import { useInputStreamSend } from "@midstream/client/react";
import { type FormEvent, useState } from "react";
import type { Session } from "./session";
import type { Story } from "./story";
import { approval, stop, userMessage } from "./streams";

/** Everything that one can send into the run. */
export function Composer({ session, run, story }: { session: Session; run: Run | undefined; story: Story }) {
  const { runId, accessToken } = session;
  const message = useInputStreamSend(userMessage, runId, { accessToken });
  const verdict = useInputStreamSend(approval, runId, { accessToken });
  const halt = useInputStreamSend(stop, runId, { accessToken });
  const [text, setText] = useState("");
  const error = message.error ?? verdict.error ?? halt.error;

  if (run?.isFinal) return <Ended run={run} />;
  const isAsking = story.now?.kind === "asking";

  function submit(event: FormEvent) {
    event.preventDefault();
    if (text.trim() === "") return;
    void message.send({ kind: "ask", text: text.trim() });
    setText("");
  }

  return (
    <footer className="composer">
      {isAsking && (
        <div className="approval">
          <div>
            <b>The draft is ready. Publish it?</b>
            {run?.state === "SUSPENDED" ? (
              <span>Suspended: no process. It can wait like this for seven days.</span>
            ) : (
              <span>It still waits in its process, in case that you answer at once.</span>
            )}
          </div>
          {/* One key for each draft: however often it is clicked, in however many tabs, it is one approval. */}
          <button
            type="button"
            className="primary"
            disabled={!verdict.isReady}
            onClick={() => void verdict.send({ approved: true }, { key: `publish ${story.wordCount}` })}
          >
            Publish
          </button>
          <button
            type="button"
            disabled={!verdict.isReady}
            onClick={() => void verdict.send({ approved: false }, { key: `more ${story.wordCount}` })}
          >
            Not yet
          </button>
        </div>
      )}
      <form onSubmit={submit}>
        <input
          aria-label="Message"
          placeholder={isAsking ? "…or say what is missing" : "Ask something else, in the middle of its work"}
          value={text}
          maxLength={2000}
          onChange={(event) => setText(event.target.value)}
        />
        <button type="submit" className="primary" disabled={!message.isReady || text.trim() === ""}>
          Send
        </button>
      </form>
      <div className="buttons">
        <button
          type="button"
          disabled={!message.isReady}
          onClick={() => void message.send({ kind: "deeper", text: "" })}
        >
          Go deeper
        </button>
        <button
          type="button"
          disabled={!message.isReady || isAsking}
          onClick={() => void message.send({ kind: "wrap-up", text: "" })}
        >
          Wrap up
        </button>
        <button type="button" className="danger" disabled={!halt.isReady} onClick={() => void halt.send({})}>
          Stop
        </button>
        {error && <span role="alert">{inWords(error)}</span>}
      </div>
    </footer>
  );
}

/** What is wrong with which field, as the server says it; else why it was refused. */
function inWords(error: MidstreamError): string {
  const fields = Object.entries(error.fields).map(([field, problem]) => (field ? `${field}: ${problem}` : problem));
  return fields.join("; ") || error.message;
}

function Ended({ run }: { run: Run }) {
  return (
    <footer className="composer ended">
      <b>{run.state === "COMPLETED" ? ended(run.result) : `The run is ${run.state.toLowerCase()}.`}</b>
      <span>{run.failure?.message ?? "Its log is kept: reload the page, and all of it is there."}</span>
    </footer>
  );
}

function ended(result: unknown): string {
  return result === "published" ? "Published." : result === "stopped" ? "Stopped, as you asked." : `Ended: ${result}.`;
}
