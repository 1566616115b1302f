import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions, Calls } from "../calls.js";
import { type Assignment, type Entry, toAssignment, toEntry } from "../entry.js";
import { type Duration, parseDuration } from "../duration.js";
import { MidstreamError } from "../error.js";
import { type Run as RunMessage, Run_State, type RunSpecSchema } from "../gen/midstream/v1/run_pb.js";
import { RunService } from "../gen/midstream/v1/run_service_pb.js";
import { encodePayload } from "../payload.js";
import { toDuration } from "../proto-duration.js";
import { ulid } from "../random-key.js";
import { type Run, type RunState, toRun } from "../run.js";
import { draft } from "../sending/draft.js";
import { codecOf, type StreamOrId, streamId } from "../streams.js";
import { type IssuedToken, toIssuedToken, type TokenSpec, toTokenSpec } from "./tokens.js";

const RUNS_PER_PAGE = 200;
const ENTRIES_PER_PAGE = 1_000;

/** What a new run is made of. */
export interface NewRun {
  /** The task's name. */
  task: string;
  /** The task's argument: JSON or bytes. Unset: null. */
  payload?: unknown;
  /** Your own id makes a repeated call find the run that the first one made. Unset: a random one. */
  runId?: string | undefined;
  /** How long the run may take, all suspensions included. */
  maxDuration?: Duration | undefined;
  metadata?: Readonly<Record<string, string>> | undefined;
}

/** What a new managed run is made of. */
export interface StartRun extends NewRun {
  /** Stored before the task begins: its first line can see them. */
  records?: Iterable<readonly [StreamOrId, unknown]> | undefined;
  /** A token to make for the frontend that will show or steer the run. A scope without a run means this one. */
  access?: TokenSpec | undefined;
}

/** Which runs to list. */
export interface RunFilter {
  task?: string | undefined;
  states?: readonly RunState[] | undefined;
}

/** Starting, finding and ending runs. */
export interface Runs {
  /** Starts a managed run; with `access`, its `accessToken` is set. */
  startRun(
    run: StartRun & { access: TokenSpec },
    options?: CallOptions,
  ): Promise<{ run: Run; created: boolean; accessToken: IssuedToken }>;
  startRun(run: StartRun, options?: CallOptions): Promise<{ run: Run; created: boolean; accessToken?: IssuedToken }>;
  getRun(runId: string, options?: CallOptions): Promise<Run>;
  /** Every run, newest first, without payloads and results. */
  listRuns(filter?: RunFilter, options?: CallOptions): AsyncGenerator<Run, void, undefined>;
  /** The run's log in offset order: everything that ever happened to it, up to now. */
  listEntries(runId: string, options?: CallOptions): AsyncGenerator<Entry, void, undefined>;
  /** Which workers had the run, and when: oldest first, at most the newest 1,000. */
  listAssignments(runId: string, options?: CallOptions): Promise<Assignment[]>;
  /** Asks a run to stop. It may take up to 30 s to clean up. */
  cancelRun(runId: string, options?: CallOptions): Promise<Run>;
}

export function createRuns(calls: Calls): Runs {
  const { method } = RunService;
  return {
    async startRun(run: StartRun, options?: CallOptions) {
      const response = await calls.unary(method.startRun, startRequest(run), options);
      const { created } = response;
      const accessToken = run.access && toIssuedToken(response.accessToken);
      return { run: existing(response.run), created, ...(accessToken && { accessToken }) } as never;
    },

    async getRun(runId, options) {
      return existing((await calls.unary(method.getRun, { runId }, options)).run);
    },

    async *listRuns(filter = {}, options) {
      const states = (filter.states ?? []).map((state) => Run_State[state]);
      const request = { task: filter.task ?? "", states, pageSize: RUNS_PER_PAGE, pageToken: "" };
      do {
        const page = await calls.unary(method.listRuns, request, options);
        for (const run of page.runs) yield toRun(run);
        request.pageToken = page.nextPageToken;
      } while (request.pageToken !== "");
    },

    async *listEntries(runId, options) {
      const request = { runId, pageSize: ENTRIES_PER_PAGE, pageToken: "" };
      do {
        const page = await calls.unary(method.listEntries, request, options);
        for (const entry of page.entries) yield toEntry(entry);
        request.pageToken = page.nextPageToken;
      } while (request.pageToken !== "");
    },

    async listAssignments(runId, options) {
      return (await calls.unary(method.listEntries, { runId, pageSize: 1 }, options)).assignments.map(toAssignment);
    },

    async cancelRun(runId, options) {
      return existing((await calls.unary(method.cancelRun, { runId }, options)).run);
    },
  };
}

/** Chosen here and not by the server, so that a repeated call finds the run that the first one made. */
export function newRunId(): string {
  return `run_${ulid()}`;
}

export function runSpec(run: NewRun): MessageInitShape<typeof RunSpecSchema> {
  return {
    task: run.task,
    payload: encodePayload(run.payload === undefined ? null : run.payload),
    metadata: { ...run.metadata },
    ...(run.maxDuration !== undefined && { maxDuration: toDuration(parseDuration(run.maxDuration)) }),
  };
}

export function existing(run: RunMessage | undefined): Run {
  if (!run) throw new MidstreamError("the server's answer has no run", { code: "INTERNAL" });
  return toRun(run);
}

function startRequest(run: StartRun): MessageInitShape<typeof RunService.method.startRun.input> {
  return {
    runId: run.runId ?? newRunId(),
    spec: runSpec(run),
    records: [...(run.records ?? [])].map(([stream, value], index) => ({
      streamId: streamId(stream),
      // Its place, not a random key: the same call again must have the same content.
      record: draft(value, { key: `first-${index + 1}` }, codecOf(stream)).record,
    })),
    ...(run.access && { access: toTokenSpec(run.access) }),
  };
}
