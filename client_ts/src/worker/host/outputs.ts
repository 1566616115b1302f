/** Output records on their way to the server: in batches, in order, said again after a broken call. */

import { create, toBinary } from "@bufbuild/protobuf";
import type { Payload } from "../../gen/midstream/v1/record_pb.js";
import {
  type WorkRequest,
  type WorkRequest_OutputRecord,
  WorkRequest_OutputRecordSchema,
  WorkRequestSchema,
  type WorkResponse_OutputStored,
} from "../../gen/midstream/v1/worker_service_pb.js";
import type { StepOutput } from "../engine/scope.js";

const FRAME_RECORDS = 1_000;
const FRAME_BYTES = 1024 * 1024;
/** While so many are unanswered, records gather for the next one. */
const FRAMES_UNDER_WAY = 4;
const TOO_MUCH_BYTES = 64 * 1024 * 1024;

interface Sized {
  readonly record: WorkRequest_OutputRecord;
  readonly bytes: number;
}

export interface RunOutputsOptions {
  readonly runId: string;
  readonly epoch: bigint;
  readonly send: (request: WorkRequest) => void;
  readonly onAllStored: () => void;
  readonly report: (text: string, error: unknown) => void;
}

/** All that one assignment appends. */
export class RunOutputs {
  private waiting: Sized[] = [];
  private readonly unanswered = new Map<bigint, { request: WorkRequest; bytes: number }>();
  private number = 0n;
  private bytes = 0;
  private scheduled = false;
  private closed = false;
  private flushes: (() => void)[] = [];

  constructor(private readonly options: RunOutputsOptions) {}

  get allStored(): boolean {
    return this.waiting.length === 0 && this.unanswered.size === 0;
  }

  /** Sends what was appended outside of steps. */
  putAll(records: Iterable<WorkRequest_OutputRecord>): void {
    for (const record of records) this.put(record);
    this.sendSome();
  }

  /** What one attempt of a step appends. */
  ofStep(operation: number, attempt: number): StepOutput & { end(): void } {
    let place = 0;
    let over = false;
    return {
      append: (streamId: string, payload: Payload, metadata: Record<string, string>) => {
        if (over) throw new Error(`output stream "${streamId}": the step has ended, and cannot append any more`);
        if (this.bytes >= TOO_MUCH_BYTES) {
          throw new Error(`${this.bytes} bytes of output are waiting to be stored: await flush() now and then`);
        }
        const address = { operation: BigInt(operation), attempt, place: BigInt(place) };
        place += 1;
        this.put(create(WorkRequest_OutputRecordSchema, { streamId, payload, metadata, ...address }));
        this.sendSoon();
      },
      flush: () => this.flush(),
      end: () => {
        over = true;
      },
    };
  }

  /** Before something is said that must come behind. */
  sendAll(): void {
    while (this.waiting.length > 0) this.sendFrame();
  }

  stored({ number, errors }: WorkResponse_OutputStored): void {
    for (const { message } of errors) {
      this.options.report(`run ${this.options.runId}: a record of an output stream was refused`, message);
    }
    this.bytes -= this.unanswered.get(number)?.bytes ?? 0;
    this.unanswered.delete(number);
    this.sendSome();
    if (!this.allStored) return;
    for (const flushed of this.flushes.splice(0)) flushed();
    this.options.onAllStored();
  }

  /** A new call has begun: what was said on the last one may not have arrived. */
  again(): void {
    for (const { request } of this.unanswered.values()) this.options.send(request);
    this.sendSome();
  }

  close(): void {
    this.closed = true;
    this.waiting = [];
    this.unanswered.clear();
  }

  private flush(): Promise<void> {
    this.sendAll();
    if (this.allStored) return Promise.resolve();
    return new Promise((resolve) => {
      this.flushes.push(resolve);
    });
  }

  private put(record: WorkRequest_OutputRecord): void {
    if (this.closed) return;
    const bytes = toBinary(WorkRequest_OutputRecordSchema, record).length;
    this.waiting.push({ record, bytes });
    this.bytes += bytes;
  }

  /** With whatever else this moment appends. */
  private sendSoon(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.sendSome();
    });
  }

  private sendSome(): void {
    while (this.waiting.length > 0 && this.unanswered.size < FRAMES_UNDER_WAY) this.sendFrame();
  }

  private sendFrame(): void {
    let count = 0;
    let bytes = 0;
    for (const each of this.waiting) {
      if (count === FRAME_RECORDS || (count > 0 && bytes + each.bytes > FRAME_BYTES)) break;
      count += 1;
      bytes += each.bytes;
    }
    const records = this.waiting.splice(0, count).map(({ record }) => record);
    this.number += 1n;
    const { runId, epoch } = this.options;
    const request = create(WorkRequestSchema, {
      frame: { case: "output", value: { runId, epoch, number: this.number, records } },
    });
    this.unanswered.set(this.number, { request, bytes });
    this.options.send(request);
  }
}
