"use client";

export type { Credential } from "./credential.js";
export type { Followed, FollowStatus } from "./feed.js";
export type { PendingRecord, SendOutcome } from "./outbox.js";
export { MidstreamProvider, type MidstreamProviderProps, useMidstream } from "./provider.js";
export type { FollowedRecords } from "./records-feed.js";
export type { FollowedRun } from "./run-feed.js";
export { useConnection } from "./use-connection.js";
export {
  type SendOptions,
  type UseInputStreamSend,
  type UseInputStreamSendOptions,
  useInputStreamSend,
} from "./use-input-stream-send.js";
export {
  type UseOutputStreamOptions,
  type UseRecords,
  type UseRecordsOptions,
  useOutputStream,
  useRecords,
} from "./use-records.js";
export { type UseRun, type UseRunOptions, useRun } from "./use-run.js";
