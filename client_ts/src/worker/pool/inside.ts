/** The inside of an executor: has one run executed, in a thread of its own or, for tests, beside others. */

import { toBinary, fromBinary } from "@bufbuild/protobuf";
import { MidstreamError, type StatusCode } from "../../error.js";
import { StartRunRequestSchema } from "../../gen/midstream/v1/run_service_pb.js";
import { SendOneRequestSchema } from "../../gen/midstream/v1/stream_service_pb.js";
import { WorkRequestSchema, WorkResponseSchema } from "../../gen/midstream/v1/worker_service_pb.js";
import type { Clock } from "../host/clock.js";
import { RunHost } from "../host/run-host.js";
import type { Caller } from "../host/step-runner.js";
import type { AnyTask } from "../task.js";
import type { FromThread, ToThread } from "./messages.js";

export interface InsideOptions {
  readonly tasks: ReadonlyMap<string, AnyTask>;
  readonly tell: (message: FromThread) => void;
  readonly clock: Clock;
  readonly idleTimeoutMs: (task: AnyTask) => number;
  readonly report: (runId: string, text: string, error: unknown) => void;
}

export class Inside {
  private host: RunHost | undefined;
  private readonly caller: WorkerCaller;

  constructor(private readonly options: InsideOptions) {
    this.caller = new WorkerCaller(options.tell);
  }

  receive(message: ToThread): void {
    if (message.kind !== "frame") {
      this.caller.answered(message);
      return;
    }
    const { tasks, tell, clock, idleTimeoutMs, report } = this.options;
    const response = fromBinary(WorkResponseSchema, message.frame);
    const { frame } = response;
    if (frame.case === "assigned") {
      this.close();
      const task = tasks.get(frame.value.task);
      if (task === undefined) throw new Error(`no task ${frame.value.task} in this worker's modules`);
      const { runId } = frame.value;
      this.host = new RunHost(frame.value, task, {
        send: (request) => tell({ kind: "frame", frame: toBinary(WorkRequestSchema, request) }),
        caller: this.caller,
        clock,
        idleTimeoutUs: idleTimeoutMs(task) * 1_000,
        report: (text, error) => report(runId, text, error),
      });
    }
    this.host?.receive(response);
  }

  close(): void {
    this.host?.close();
  }
}

/** Makes a run's calls by the worker. */
class WorkerCaller implements Caller {
  private count = 0;
  private readonly waiting = new Map<number, [resolve: (value: unknown) => void, reject: (error: unknown) => void]>();

  constructor(private readonly tell: (message: FromThread) => void) {}

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
    this.tell({ kind: "call", number, method, request });
    return new Promise((resolve, reject) => {
      this.waiting.set(number, [resolve, reject]);
    });
  }
}
