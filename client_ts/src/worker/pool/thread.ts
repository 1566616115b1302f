/**
 * The thread that executes one run: waits, warm, for its first frame, and never ends by itself. The worker ends it when
 * the run is suspended or has ended.
 */

import { format } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { toBinary } from "@bufbuild/protobuf";
import { collectDeclared } from "../../declared/announce.js";
import { RegisterSchemasRequestSchema } from "../../gen/midstream/v1/schema_service_pb.js";
import { requestFor } from "../../schemas/request.js";
import { type Duration, parseDuration } from "../../duration.js";
import { currentScope } from "../engine/scope.js";
import { systemClock } from "../host/clock.js";
import { installRunGlobals } from "../realm/globals.js";
import { watchForTrespass } from "../realm/trespass.js";
import type { AnyTask } from "../task.js";
import { Inside } from "./inside.js";
import { loadTasks } from "./load-tasks.js";
import type { FromThread, LogLevel, ThreadData, ToThread } from "./messages.js";

const port = parentPort;
if (port === null) throw new Error("this module is the inside of a worker's thread");
const data = workerData as ThreadData;
const DEFAULT_IDLE: Duration = "5s";

function tell(message: FromThread): void {
  port?.postMessage(message);
}

function log(level: LogLevel, runId: string, text: string): void {
  tell({ kind: "log", level, runId, text });
}

/** A run's own lines carry its id, and are not repeated while it replays. */
function labelConsole(): void {
  for (const level of ["debug", "info", "log", "warn", "error"] as const) {
    console[level] = (...args: unknown[]) => {
      const scope = currentScope();
      if (scope?.step === undefined && scope?.execution.replaying) return;
      log(level, scope?.execution.runId ?? "", format(...args));
    };
  }
}

installRunGlobals();
labelConsole();
watchForTrespass({
  fails: data.strict,
  report: (runId, error) => tell({ kind: "trespass", runId, what: error.what, text: error.stack ?? error.message }),
});
process.on("unhandledRejection", (error) => {
  // What a task left behind when it ended is nobody's.
  if (currentScope()?.execution.ended !== true) console.error("nobody awaited this rejection:", error);
});

try {
  let tasks: ReadonlyMap<string, AnyTask> = new Map();
  const streams = await collectDeclared(async () => {
    tasks = await loadTasks(data.modules);
  });
  const schemas = data.describeStreams ? toBinary(RegisterSchemasRequestSchema, requestFor(streams)) : new Uint8Array();
  const inside = new Inside({
    tasks,
    tell,
    clock: systemClock,
    idleTimeoutMs: ({ idleTimeout = DEFAULT_IDLE }) => data.idleTimeoutMs ?? parseDuration(idleTimeout),
    report: (runId, text, error) => log("error", runId, format(text, error)),
  });
  port.on("message", (message: ToThread) => inside.receive(message));
  tell({ kind: "ready", tasks: [...tasks.keys()], schemas });
} catch (error) {
  tell({ kind: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
