/** A step that has been issued and has not ended, as the host sees it. */

import type { StartRunRequest } from "../../gen/midstream/v1/run_service_pb.js";
import type { SendOneRequest } from "../../gen/midstream/v1/stream_service_pb.js";
import type { RetryPolicy } from "./retry.js";
import type { StepScope } from "./scope.js";

/** What a step's function is given. */
export type StepInfo = Pick<StepScope, "attempt" | "key" | "signal">;

/** What a step does. The two requests carry a key of their own, so that repeating them is harmless. */
export type Call =
  | { readonly kind: "function"; readonly run: (info: StepInfo) => unknown }
  | { readonly kind: "send"; readonly request: SendOneRequest }
  | { readonly kind: "start_run"; readonly request: StartRunRequest };

export type ErrorClass = new (message: string) => Error;

export interface PendingStep {
  readonly operation: number;
  readonly name: string;
  readonly key: string;
  readonly call: Call;
  readonly retry: RetryPolicy;
  readonly atMostOnce: boolean;
  readonly timeoutMs: number | undefined;
  readonly raises: readonly ErrorClass[];
  /** The attempt to make, from 1. */
  attempt: number;
  /** Not before this time of the server; 0: at once. */
  notBeforeUs: number;
  /** The epoch whose begin the log holds, for a step that runs at most once. */
  begunEpoch: number | undefined;
  cancelled: boolean;
}
