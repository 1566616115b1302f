/** What operations and runs came to, beside what was expected. */

import type { Run } from "../../src/index.js";
import { differences } from "./match.js";
import type { Operation, Outcome } from "./script.js";
import type { Json, JsonObject } from "./vector.js";

/** Between what an operation was to come to and what it came to. */
export function outcomeDifferences(operation: Operation, outcome: Outcome | undefined, path: string): string[] {
  for (const kind of ["sequence", "together"]) {
    if (!(kind in operation)) continue;
    const inner = operation[kind] as Operation[];
    const outcomes = outcome && "gives" in outcome ? (outcome.gives as Outcome[]) : [];
    return inner.flatMap((each, index) => outcomeDifferences(each, outcomes[index], `${path}.${kind}[${index}]`));
  }
  if ("fails" in operation) return differences({ fails: operation["fails"] as Json }, outcome as Json, path);
  if (outcome === undefined || "fails" in outcome) {
    return [`${path}: ${JSON.stringify(operation)} failed: ${outcome?.fails ?? "it was not played"}`];
  }
  return "gives" in operation ? differences(operation["gives"] as Json, outcome.gives, path) : [];
}

/** A run as `ends` and `until` write it. */
export function seenOf(run: Run): JsonObject {
  return {
    state: run.state,
    unread: Object.fromEntries(run.streams.map((stream) => [stream.streamId, stream.unreadCount])),
    failures: run.handlerFailures.map(({ seq, message }) => ({ seq, message })),
    failure: run.failure?.message ?? null,
  };
}
