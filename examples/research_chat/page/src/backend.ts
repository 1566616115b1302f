// The application's own backend, chat/backend.py.

export type Entry = { run_id: string; access_token: string; expire_time: string; midstream_url: string };

export function startRun(topic: string): Promise<Entry> {
  return ask("/api/runs", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ topic }),
  });
}

/** A fresh token for a run of ours. */
export function enterRun(runId: string): Promise<Entry> {
  return ask(`/api/runs/${encodeURIComponent(runId)}`);
}

async function ask(path: string, request?: RequestInit): Promise<Entry> {
  const response = await fetch(path, request);
  if (response.ok) return response.json();
  const { detail } = await response.json().catch(() => ({ detail: response.statusText }));
  throw new Error(typeof detail === "string" ? detail : `The backend answered ${response.status}.`);
}
