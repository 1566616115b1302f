import { useConnection, useRecords, useRun } from "@midstream/client/react";
import { useMemo } from "react";
import { Article } from "./article";
import { Brand } from "./brand";
import { Composer } from "./composer";
import type { Session } from "./session";
import { tell } from "./story";
import { Timeline } from "./timeline";
import { Wire } from "./wire";

export function Chat({ session, onLeave }: { session: Session; onLeave: () => void }) {
  const { runId, accessToken } = session;
  const { run, error } = useRun(runId, { accessToken });
  const inputs = useRecords(runId, { accessToken });
  const outputs = useRecords(runId, { accessToken, direction: "output" });
  const connection = useConnection();
  const story = useMemo(
    () => tell(inputs.records, inputs.pending, outputs.records),
    [inputs.records, inputs.pending, outputs.records],
  );
  const topic = (run?.payload as { topic?: string } | undefined)?.topic;
  const refusal = error ?? inputs.error ?? outputs.error;

  return (
    <div className="chat">
      <header>
        <Brand />
        <span className={`connection ${connection}`} role="status">
          {connection === "retrying" ? "reconnecting…" : connection === "open" ? "live" : ""}
        </span>
        <a className="quiet" href={location.pathname} target="_blank" rel="noreferrer">
          Open a second tab
        </a>
        <button type="button" className="quiet" onClick={onLeave}>
          New run
        </button>
      </header>
      {refusal && <p role="alert">{refusal.message}</p>}
      <Wire run={run} story={story} />
      <main>
        <section className="left">
          <Article topic={topic} story={story} run={run} />
          <Composer session={session} run={run} story={story} />
        </section>
        <Timeline run={run} story={story} />
      </main>
    </div>
  );
}
