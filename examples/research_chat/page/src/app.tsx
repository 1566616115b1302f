import { MidstreamProvider } from "@midstream/client/react";
import { useEffect, useState } from "react";
import { Chat } from "./chat";
import { enterSession, type Session, startSession } from "./session";
import { Start } from "./start";

/** The run in the address, as /runs/run_... */
function runInAddress(): string | undefined {
  return /^\/runs\/([^/]+)$/.exec(location.pathname)?.[1];
}

export function App() {
  const [runId, setRunId] = useState(runInAddress);
  const [session, setSession] = useState<Session>();
  const [problem, setProblem] = useState<string>();

  useEffect(() => {
    const follow = () => setRunId(runInAddress());
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);

  useEffect(() => {
    if (runId === undefined || session?.runId === runId) return;
    let isCurrent = true;
    enterSession(runId).then(
      (entered) => isCurrent && setSession(entered),
      (error: Error) => isCurrent && setProblem(error.message),
    );
    return () => {
      isCurrent = false;
    };
  }, [runId, session]);

  async function start(topic: string) {
    setProblem(undefined);
    try {
      const started = await startSession(topic);
      history.pushState(null, "", `/runs/${started.runId}`);
      setSession(started);
      setRunId(started.runId);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  }

  function leave() {
    history.pushState(null, "", "/");
    setProblem(undefined);
    setRunId(undefined);
  }

  if (runId === undefined) return <Start onStart={start} problem={problem} />;
  if (session?.runId !== runId) return <Waiting problem={problem} onLeave={leave} />;
  return (
    <MidstreamProvider client={session.client}>
      <Chat key={runId} session={session} onLeave={leave} />
    </MidstreamProvider>
  );
}

function Waiting({ problem, onLeave }: { problem: string | undefined; onLeave: () => void }) {
  if (problem === undefined) return null;
  return (
    <main className="alone">
      <p role="alert">{problem}</p>
      <button type="button" className="primary" onClick={onLeave}>
        Start a run of your own
      </button>
    </main>
  );
}
