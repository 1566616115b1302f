/**
 * The thread that executes one run: waits, warm, for its first frame, and never ends by itself. The worker ends it when
 * the run is suspended or has ended.
 */

import { format } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { MidstreamError, type StatusCode } from "../../error.js";
import { StartRunRequestSchema } from "../../gen/midstream/v1/run_service_pb.js";
import { SendOneRequestSchema } from "../../gen/midstream/v1/stream_service_pb.js";
import { WorkRequestSchema, WorkResponseSchema } from "../../gen/midstream/v1/worker_service_pb.js";
import { currentScope } from "../engine/scope.js";
import { systemClock } from "../host/clock.js";
import { RunHost } from "../host/run-host.js";
import type { Caller } from "../host/step-runner.js";
import { installRunGlobals } from "../realm/globals.js";
import { watchForTrespass } from "../realm/trespass.js";
import type { AnyTask } from "../task.js";
import { loadTasks } from "./load-tasks.js";
import type { FromThread, LogLevel, ThreadData, ToThread } from "./messages.js";
import { parseDuration } from "../../duration.js";

const port = parentPort;
if (port === null) throw new Error("this module is the inside of a worker's thread");
const data = workerData as ThreadData;

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

/** Makes a run's calls by the worker, at the other end of the port. */
class PortCaller implements Caller {
  private count = 0;
  private readonly waiting = new Map<number, [resolve: (value: unknown) => void, reject: (error: unknown) => void]>();

  send(request: Parameters<Caller["send"]>[0]): Promise<unknown> {
    return this.call("send", toBinary(SendOneRequestSchema, request));
  }

  startRun(request: Parameters<Caller["startRun"]>[0]): Promise<unknown> {
    return this.call("startRun", toBinary(StartRunRequestSchema, request));
  }

  answered(message: Exclude<ToThread, { kind: "frame" }>): void {
    const [resolve, reject] = this.waiting.get(message.number) ?? [];
    this.waiting.delete(message.number);
    if (message.kind === "answer") resolve?.(message.value);
    else {
      const { message: text, reason, code } = message.error;
      reject?.(new MidstreamError(text, { reason, code: code as StatusCode }));
    }
  }

  private call(method: "send" | "startRun", request: Uint8Array): Promise<unknown> {
    this.count += 1;
    const number = this.count;
    tell({ kind: "call", number, method, request });
    return new Promise((resolve, reject) => {
      this.waiting.set(number, [resolve, reject]);
    });
  }
}

class Thread {
  private host: RunHost | undefined;
  private readonly caller = new PortCaller();

  constructor(private readonly tasks: ReadonlyMap<string, AnyTask>) {}

  receive(message: ToThread): void {
    if (message.kind !== "frame") {
      this.caller.answered(message);
      return;
    }
    const response = fromBinary(WorkResponseSchema, message.frame);
    const { frame } = response;
    if (frame.case === "assigned") {
      this.host?.close();
      const task = this.tasks.get(frame.value.task);
      if (task === undefined) throw new Error(`no task ${frame.value.task} in this worker's modules`);
      const { runId } = frame.value;
      const idleTimeoutMs = task.idleTimeout === undefined ? data.idleTimeoutMs : parseDuration(task.idleTimeout);
      this.host = new RunHost(frame.value, task, {
        send: (request) => tell({ kind: "frame", frame: toBinary(WorkRequestSchema, request) }),
        caller: this.caller,
        clock: systemClock,
        idleTimeoutUs: idleTimeoutMs * 1_000,
        report: (text, error) => log("error", runId, format(text, error)),
      });
    }
    this.host?.receive(response);
  }
}

installRunGlobals();
labelConsole();
watchForTrespass({ fails: data.strict, report: (error) => console.error(error) });
process.on("unhandledRejection", (error) => {
  // What a task left behind when it ended is nobody's.
  if (currentScope()?.execution.ended !== true) console.error("nobody awaited this rejection:", error);
});

try {
  const tasks = await loadTasks(data.modules);
  const thread = new Thread(tasks);
  port.on("message", (message: ToThread) => thread.receive(message));
  tell({ kind: "ready", tasks: [...tasks.keys()] });
} catch (error) {
  tell({ kind: "failed", message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
