/** What a worker tells whoever watches it: lines for a person, JSON for a machine. */

import type { LogLevel } from "../pool/messages.js";

/** The events and their fields are those of the Python worker. */
export type WorkerEvent =
  | { event: "worker_started"; url: string; worker_id: string; tasks: readonly string[]; credit: number }
  | { event: "schema_registered"; stream_id: string; version: number; created: boolean; warnings: readonly string[] }
  | { event: "connected"; url: string; runs: number }
  | { event: "disconnected"; url: string; error: string; retry_ms: number }
  | { event: "run_assigned"; run_id: string; task: string; epoch: number; entries: number; resumed: boolean }
  | { event: "run_suspended"; run_id: string; task: string }
  | { event: "run_finished"; run_id: string; task: string; outcome: string }
  | { event: "run_fenced"; run_id: string; task: string }
  | { event: "run_released"; run_id: string; task: string; reason: string }
  | { event: "run_blocked"; run_id: string; task: string; message: string }
  | { event: "run_died"; run_id: string; task: string; how: string }
  | { event: "server_drains" }
  | { event: "draining"; runs: number }
  | { event: "worker_stopped" }
  | { event: "log"; level: LogLevel; run_id: string; text: string };

export type Report = (event: WorkerEvent) => void;

export function reporter(format: "auto" | "json", out: NodeJS.WriteStream = process.stdout): Report {
  const json = format === "json" || (format === "auto" && !out.isTTY);
  return (event) => {
    out.write(json ? `${JSON.stringify({ timestamp: new Date().toISOString(), ...event })}\n` : `${line(event)}\n`);
  };
}

function line(event: WorkerEvent): string {
  const time = new Date().toTimeString().slice(0, 8);
  if (event.event === "log") return `${time}  ${event.run_id ? `[${event.run_id}] ` : ""}${event.text}`;
  const { event: name, ...fields } = event;
  const told = Object.entries(fields).map(([field, value]) => `${field}=${text(value)}`);
  return `${time}  ${name.padEnd(14)}  ${told.join(" ")}`;
}

function text(value: unknown): string {
  return Array.isArray(value) ? value.join(",") : String(value);
}
