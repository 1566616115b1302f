export type { CallOptions } from "./calls.js";
export {
  type Client,
  type ConnectOptions,
  connect,
  type FollowRecordsOptions,
  type FollowRunOptions,
} from "./client.js";
export type { AccessToken } from "./credentials.js";
export type { Duration } from "./duration.js";
export { type AnyResult, type ReceiveOptions, type Subscription, waitAny } from "./input-stream.js";
export { MidstreamError, type Reason, type StatusCode } from "./error.js";
export type { Connection, ConnectionState } from "./follow/connection.js";
export type { Following } from "./follow/follower.js";
export { applyRewinds } from "./follow/rewinds.js";
export type { Direction, Receipt, Sender, SendResult, SeqRange, StreamRecord } from "./models.js";
export type { TypedMessage } from "./payload.js";
export type { Failure, HandlerFailure, OutputStatus, Run, RunKind, RunState, StreamStatus } from "./run.js";
export { type NotReceived, type Received, ReceiveTimeout, type Result } from "./receiving/result.js";
export type { RecordOptions } from "./sending/draft.js";
export {
  type InputStream,
  type Of,
  type OutputStream,
  type StreamDeclaration,
  type StreamOrId,
  streams,
} from "./streams.js";
