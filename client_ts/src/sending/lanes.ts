import { create } from "@bufbuild/protobuf";
import type { CallOptions, Calls } from "../calls.js";
import { fromCall } from "../call-error.js";
import { MidstreamError } from "../error.js";
import { SendOneRequestSchema, StreamService } from "../gen/midstream/v1/stream_service_pb.js";
import { type SendResult, toSendResult } from "../models.js";
import { type Courier, MAX_BATCH_BYTES, MAX_BATCH_RECORDS } from "./courier.js";
import { type Waiting, waitFor } from "./waiting.js";

/** The records for one stream, sent with the same credentials. */
interface Lane {
  readonly runId: string;
  readonly streamId: string;
  readonly accessToken: CallOptions["accessToken"];
  readonly waiting: Waiting[];
  busy: boolean;
  /** Called when somebody who waits for the batch under way has gone. */
  look: () => void;
}

/**
 * Sends by unary calls, one at a time for each stream: what is put meanwhile goes along with the next one. So each stream
 * keeps its order, whatever connections the calls take and however often they are repeated.
 */
export function createLanes(calls: Calls, defaultTimeoutMs: number): Courier {
  const lanes = new Map<string, Lane[]>();

  function laneFor(runId: string, streamId: string, accessToken: CallOptions["accessToken"]): Lane {
    const name = `${runId}/${streamId}`;
    const sameStream = lanes.get(name) ?? [];
    lanes.set(name, sameStream);
    let lane = sameStream.find((each) => each.accessToken === accessToken);
    if (!lane) {
      lane = { runId, streamId, accessToken, waiting: [], busy: false, look: () => {} };
      sameStream.push(lane);
    }
    return lane;
  }

  function drop(lane: Lane): void {
    const name = `${lane.runId}/${lane.streamId}`;
    const rest = (lanes.get(name) ?? []).filter((each) => each !== lane);
    if (rest.length > 0) lanes.set(name, rest);
    else lanes.delete(name);
  }

  async function work(lane: Lane): Promise<void> {
    lane.busy = true;
    for (;;) {
      const batch = nextBatch(lane);
      if (batch.length === 0) break;
      const results = await deliver(lane, batch);
      batch.forEach((each, index) => {
        each.settle(results[index] ?? { ok: false, error: new MidstreamError("no receipt", { code: "INTERNAL" }) });
      });
    }
    drop(lane);
  }

  /** Never rejects. */
  async function deliver(lane: Lane, batch: readonly Waiting[]): Promise<readonly SendResult[]> {
    const nobodyWaits = new AbortController();
    lane.look = () => batch.every((each) => each.gone) && nobodyWaits.abort();
    const request = create(SendOneRequestSchema, {
      runId: lane.runId,
      streamId: lane.streamId,
      records: batch.map((each) => each.draft.record),
    });
    const options = {
      accessToken: lane.accessToken,
      signal: nobodyWaits.signal,
      timeoutMs: Math.max(0, ...batch.map((each) => each.giveUpAt - Date.now())),
    };
    try {
      const { receipts } = await calls.unary(StreamService.method.sendOne, request, options);
      return receipts.map(toSendResult);
    } catch (failed) {
      const error = fromCall(failed);
      return batch.map(() => ({ ok: false, error }));
    }
  }

  return {
    put(runId, streamId, draft, options) {
      const lane = laneFor(runId, streamId, options?.accessToken);
      const timeoutMs = options?.timeoutMs ?? defaultTimeoutMs;
      const waiting = waitFor(draft, { signal: options?.signal, timeoutMs }, () => lane.look());
      lane.waiting.push(waiting);
      if (!lane.busy) void work(lane);
      return waiting.answer;
    },
  };
}

/** As much as one call takes, without those whom nobody waits for any more. */
function nextBatch(lane: Lane): Waiting[] {
  const batch: Waiting[] = [];
  let sizeBytes = 0;
  while (batch.length < MAX_BATCH_RECORDS) {
    const next = lane.waiting[0];
    if (!next) break;
    if (!next.gone) {
      if (batch.length > 0 && sizeBytes + next.draft.sizeBytes > MAX_BATCH_BYTES) break;
      batch.push(next);
      sizeBytes += next.draft.sizeBytes;
    }
    lane.waiting.shift();
  }
  return batch;
}
