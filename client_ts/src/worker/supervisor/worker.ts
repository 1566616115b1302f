/** A worker: takes runs from the server, has them executed, and gives them back when it stops. */

import { create, fromBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Transport } from "@connectrpc/connect";
import type { Calls } from "../../calls.js";
import type { Credentials } from "../../credentials.js";
import { fromCall } from "../../call-error.js";
import { fromStatus, MidstreamError } from "../../error.js";
import { RunService, StartRunRequestSchema } from "../../gen/midstream/v1/run_service_pb.js";
import { SendOneRequestSchema, StreamService } from "../../gen/midstream/v1/stream_service_pb.js";
import {
  type WorkRequest,
  WorkRequestSchema,
  type WorkResponse,
  WorkResponseSchema,
} from "../../gen/midstream/v1/worker_service_pb.js";
import { LANGUAGE } from "../engine/errors.js";
import type { FromThread, ToThread } from "../pool/messages.js";
import type { Executor } from "../pool/executor.js";
import { Link, type LinkUser } from "./link.js";
import type { Report } from "./report.js";
import { Runs } from "./runs.js";

const BEATS_PER_LEASE = 3;
const LAST_WORDS_MS = 2_000;

export interface WorkerOptions {
  readonly transport: Transport;
  readonly credentials: Credentials;
  readonly calls: Calls;
  readonly url: string;
  readonly take: () => Executor;
  readonly report: Report;
  readonly workerId: string;
  /** Code versions by task name. */
  readonly tasks: ReadonlyMap<string, string>;
  /** How many runs at once. */
  readonly credit: number;
}

/** Needs a way to start threads; knows nothing of what is in them. */
export class Worker implements LinkUser {
  private readonly link: Link;
  private readonly runs: Runs;
  private draining = false;
  private heartbeat: NodeJS.Timeout | undefined;

  constructor(private readonly options: WorkerOptions) {
    const { transport, credentials, take, report } = options;
    this.link = new Link(transport, credentials, this);
    this.runs = new Runs({
      take,
      send: (frame) => this.link.send(frame),
      call: (message) => this.call(message),
      report,
      onFree: () => this.free(),
    });
  }

  /** Until `drain` or `stop`. Rejects with MidstreamError where the server refuses this worker. */
  async run(): Promise<void> {
    try {
      await this.link.run();
    } finally {
      clearInterval(this.heartbeat);
    }
  }

  /** Takes no more runs, has those suspended that can be, gives the others back after the timeout, and ends. */
  async drain(timeoutMs: number): Promise<void> {
    this.draining = true;
    this.options.report({ event: "draining", runs: this.runs.size });
    if (this.runs.size > 0) {
      // A new call, without credit: what the server would still have assigned goes to others.
      this.link.reopen();
      this.runs.relayToAll(drainFrame());
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs);
      });
      await Promise.race([this.runs.untilEmpty(), late]);
      clearTimeout(timer);
      for (const run of this.runs) this.runs.giveBack(run, "the worker is shutting down");
    }
    await this.link.end(LAST_WORDS_MS);
  }

  /** At once. Runs are lost to this worker when their lease runs out, or when it opens again. */
  async stop(): Promise<void> {
    this.runs.killAll();
    await this.link.end(0);
  }

  // What the link asks.

  openFrame(): WorkRequest {
    const { workerId, tasks, credit } = this.options;
    const value = {
      workerId,
      tasks: [...tasks].map(([task, codeVersion]) => ({ task, codeVersion })),
      runtime: `${LANGUAGE}${process.versions.node.split(".")[0]}`,
      held: this.runs.held().map(({ runId, epoch, receivedOffset }) => ({ runId, epoch, receivedOffset })),
      credit: this.draining ? 0 : Math.max(0, credit - this.runs.size),
    };
    return create(WorkRequestSchema, { frame: { case: "open", value } });
  }

  received(response: WorkResponse): void {
    const { frame } = response;
    if (frame.case === "opened") {
      this.options.report({ event: "connected", url: this.options.url, runs: this.runs.size });
      clearInterval(this.heartbeat);
      const leaseMs = frame.value.lease === undefined ? 15_000 : durationMs(frame.value.lease);
      this.heartbeat = setInterval(() => this.link.send(beat()), leaseMs / BEATS_PER_LEASE);
      this.runs.opened(response);
      if (this.draining) this.runs.relayToAll(drainFrame());
    } else if (frame.case === "drain") {
      this.options.report({ event: "server_drains" });
    } else {
      this.runs.received(response);
    }
  }

  broken(error: MidstreamError, retryMs: number): void {
    clearInterval(this.heartbeat);
    const { url, report } = this.options;
    report({ event: "disconnected", url, error: error.message, retry_ms: Math.round(retryMs) });
  }

  private free(): void {
    if (this.draining) return;
    this.link.send(create(WorkRequestSchema, { frame: { case: "credit", value: { runs: 1 } } }));
  }

  private async call({ number, method, request }: Extract<FromThread, { kind: "call" }>): Promise<ToThread> {
    try {
      const value = method === "send" ? await this.send(request) : await this.startRun(request);
      return { kind: "answer", number, value };
    } catch (failed) {
      const { message, reason, code } = fromCall(failed);
      return { kind: "refusal", number, error: { message, reason, code } };
    }
  }

  private async send(request: Uint8Array): Promise<unknown> {
    const sent = fromBinary(SendOneRequestSchema, request);
    const { receipts } = await this.options.calls.unary(StreamService.method.sendOne, sent);
    const result = receipts[0]?.result;
    if (result?.case === "error") throw fromStatus(result.value);
    if (result?.case !== "accepted")
      throw new MidstreamError("the server's receipt says nothing", { code: "INTERNAL" });
    const { seq, offset, deduplicated, droppedCount } = result.value;
    return { seq: Number(seq), offset: Number(offset), deduplicated, dropped: droppedCount };
  }

  private async startRun(request: Uint8Array): Promise<unknown> {
    const asked = fromBinary(StartRunRequestSchema, request);
    const { run } = await this.options.calls.unary(RunService.method.startRun, asked);
    return { id: run?.runId ?? "", task: run?.task ?? "" };
  }
}

function beat(): WorkRequest {
  return create(WorkRequestSchema, { frame: { case: "heartbeat", value: {} } });
}

function drainFrame(): WorkResponse {
  return create(WorkResponseSchema, { frame: { case: "drain", value: {} } });
}
