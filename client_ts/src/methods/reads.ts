import type { CallOptions, Calls } from "../calls.js";
import { read } from "../codec.js";
import { Direction as DirectionEnum } from "../gen/midstream/v1/record_pb.js";
import { RunService } from "../gen/midstream/v1/run_service_pb.js";
import { StreamService } from "../gen/midstream/v1/stream_service_pb.js";
import type { FollowRecordsOptions, FollowRunOptions } from "./follows.js";
import type { Following } from "../follow/follower.js";
import { iterate } from "../follow/iterate.js";
import { type Direction, type PayloadForm, payloadView, type StreamRecord, toRecord } from "../models.js";
import { type Run, toRun } from "../run.js";
import { codecOf, type StreamDeclaration, type StreamOrId, streamId } from "../streams.js";

const RECORDS_PER_PAGE = 1_000;

/** Which records of a run. */
export interface WhichRecords {
  /** Unset: all of the run's streams. */
  stream?: StreamOrId | undefined;
  /** Unset: the declared stream's own, else `"input"`. */
  direction?: Direction | undefined;
  /** Unset: as it is stored. */
  view?: PayloadForm | undefined;
}

type Typed<T> = { stream: StreamDeclaration<T, Direction>; view?: PayloadForm | undefined };

/**
 * Looking at runs and records from outside. Consumes nothing.
 *
 * With a stream that is declared with a type, values come as the type has them. A record that does not fit throws
 * RecordInvalid; go on behind its `offset`, or take the records as they are, by the stream's name.
 */
export interface Reads {
  /** Every stored record in offset order, consumed or not. */
  listRecords<T>(runId: string, options: Typed<T> & CallOptions): AsyncGenerator<StreamRecord<T>, void, undefined>;
  listRecords(runId: string, options?: WhichRecords & CallOptions): AsyncGenerator<StreamRecord, void, undefined>;
  /** The newest record that the run has not consumed. */
  peek<T>(
    runId: string,
    stream: StreamDeclaration<T, "input">,
    options?: CallOptions & { view?: PayloadForm | undefined },
  ): Promise<StreamRecord<T> | undefined>;
  peek(
    runId: string,
    stream: string,
    options?: CallOptions & { view?: PayloadForm | undefined },
  ): Promise<StreamRecord | undefined>;
  /**
   * Every record behind `afterOffset`, in offset order, as it comes, until the run has ended; after a drop without a gap or
   * a repeat. In a browser it shares the client's one subscription.
   */
  tail<T>(
    runId: string,
    options: Typed<T> & { afterOffset?: number | undefined } & CallOptions,
  ): AsyncGenerator<StreamRecord<T>, void, undefined>;
  tail(
    runId: string,
    options?: WhichRecords & { afterOffset?: number | undefined } & CallOptions,
  ): AsyncGenerator<StreamRecord, void, undefined>;
  /** The run as it stands, and again whenever it has changed, until it has ended. */
  watchRun(runId: string, options?: CallOptions): AsyncGenerator<Run, void, undefined>;
}

/** `follows`: given where connections are few, as in browsers. */
export function createReads(
  calls: Calls,
  follows:
    | {
        followRecords(runId: string, options: FollowRecordsOptions): Following;
        followRun(runId: string, options: FollowRunOptions): Following;
      }
    | undefined,
): Reads {
  const { method } = StreamService;

  async function* listRecords(runId: string, options: WhichRecords & CallOptions = {}) {
    const request = { runId, ...which(options), pageSize: RECORDS_PER_PAGE, pageToken: "" };
    const codec = codecOf(options.stream);
    do {
      const page = await calls.unary(method.listRecords, request, options);
      for (const record of page.records) yield read(codec, toRecord(record));
      request.pageToken = page.nextPageToken;
    } while (request.pageToken !== "");
  }

  async function* tail(runId: string, options: WhichRecords & { afterOffset?: number } & CallOptions = {}) {
    const codec = codecOf(options.stream);
    if (follows) {
      const { stream, afterOffset, accessToken, view } = options;
      const direction = options.direction ?? (typeof stream === "object" ? stream.direction : undefined);
      const what = { stream: stream && streamId(stream), direction, afterOffset, accessToken, view };
      const records = iterate<StreamRecord>(options, ({ push, ...ends }) =>
        follows.followRecords(runId, { ...what, ...ends, onRecords: (records) => push(...records) }),
      );
      for await (const record of records) yield read(codec, record);
      return;
    }
    let position = BigInt(options.afterOffset ?? 0);
    const request = () => ({ runId, ...which(options), afterOffset: position });
    for await (const response of calls.stream(method.tail, request, options)) {
      position = response.asOfOffset;
      for (const record of response.records) yield read(codec, toRecord(record));
    }
  }

  return {
    listRecords: listRecords as Reads["listRecords"],

    tail: tail as Reads["tail"],

    peek: (async (runId: string, stream: StreamOrId, options?: CallOptions & { view?: PayloadForm }) => {
      const request = { runId, streamId: streamId(stream), payloadView: payloadView(options?.view) };
      const { record } = await calls.unary(method.peek, request, options);
      return record && read(codecOf(stream), toRecord(record));
    }) as Reads["peek"],

    async *watchRun(runId, options = {}) {
      if (follows) {
        const { accessToken } = options;
        yield* iterate<Run>(options, ({ push, ...ends }) =>
          follows.followRun(runId, { accessToken, ...ends, onRun: push }),
        );
        return;
      }
      let last = "";
      for await (const { run } of calls.stream(RunService.method.watchRun, () => ({ runId }), options)) {
        if (!run) continue;
        const now = toRun(run);
        const text = JSON.stringify(now);
        if (text === last) continue; // the first word after a reconnect may be an old one
        last = text;
        yield now;
        if (now.isFinal) return;
      }
    },
  };
}

function which({ stream, direction, view }: WhichRecords) {
  const declared = typeof stream === "object" ? stream.direction : undefined;
  return {
    streamId: stream === undefined ? "" : streamId(stream),
    direction: (direction ?? declared) === "output" ? DirectionEnum.OUTPUT : DirectionEnum.INPUT,
    payloadView: payloadView(view),
  };
}
