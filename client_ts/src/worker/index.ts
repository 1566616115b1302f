import "./engine/views.js";

export { inputStream } from "../declared/input-stream.js";
export { type AnyResult, type ReceiveOptions, type Subscription, waitAny } from "../input-stream.js";
export { RecordInvalid } from "../record-invalid.js";
export { type NotReceived, type Received, ReceiveTimeout, type Result } from "../receiving/result.js";
export { type InputStream, type OutputStream, streams } from "../streams.js";
export type { RunLog, StepFunction, StepOptions, TaskContext } from "./engine/context.js";
export {
  Diverged,
  RecordUnreadable,
  RunCancelled,
  StepFailed,
  StepInterrupted,
  UnjournaledAwait,
} from "./engine/errors.js";
export type { StepInfo } from "./engine/pending-step.js";
export type { Retry } from "./engine/retry.js";
export type { SendOptions, SentReceipt, StartedRun, StartOptions } from "./engine/run-calls.js";
export { stepKey } from "./engine/scope.js";
export { type AppendOptions, type Output, output } from "./output.js";
export { step } from "./step.js";
export { type Task, type TaskOptions, task } from "./task.js";
