export type { AttachedRun, AttachOptions, Output } from "./attached/attach.js";
export type { Inbox } from "./attached/receiver.js";
export type { CallOptions } from "./calls.js";
export { type Client, type ConnectOptions, connect } from "./client.js";
export type { Codec } from "./codec.js";
export type { AccessToken } from "./credentials.js";
export { inputStream, type StreamPromises, type TypedDeclaration, type TypedStream } from "./declared/input-stream.js";
export type { Duration } from "./duration.js";
export { type AnyResult, type ReceiveOptions, type Subscription, waitAny } from "./input-stream.js";
export type { Assignment, Entry, Fact } from "./entry.js";
export { MidstreamError, type Reason, type StatusCode } from "./error.js";
export type { Connection, ConnectionState } from "./follow/connection.js";
export type { Following } from "./follow/follower.js";
export { applyRewinds } from "./follow/rewinds.js";
export type { FollowRecordsOptions, FollowRunOptions, Follows } from "./methods/follows.js";
export type { Reads, WhichRecords } from "./methods/reads.js";
export type { NewRun, RunFilter, Runs, StartRun } from "./methods/runs.js";
export type { Sends } from "./methods/sends.js";
export type { IssuedToken, Scope, Tokens, TokenSpec } from "./methods/tokens.js";
export type { Direction, PayloadForm, Receipt, Sender, SendResult, SeqRange, StreamRecord } from "./models.js";
export type { TypedMessage } from "./payload.js";
export type { Failure, HandlerFailure, OutputStatus, Run, RunKind, RunState, StreamStatus } from "./run.js";
export { RecordInvalid } from "./record-invalid.js";
export { type NotReceived, type Received, ReceiveTimeout, type Result } from "./receiving/result.js";
export type { RecordOptions } from "./sending/draft.js";
export type { RegisteredSchema, RegisterSchemas, Schema, Schemas, SchemaSettings } from "./schemas/schemas.js";
export {
  type InputStream,
  type Of,
  type OutputStream,
  type StreamDeclaration,
  type StreamOrId,
  streams,
} from "./streams.js";
