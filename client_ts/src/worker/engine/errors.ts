/** What a task can meet, and what the engine tells its host. */

import type { RecordInvalid } from "../../record-invalid.js";

/** A step threw, and no attempt is left. The same error where it happened and on every replay. */
export class StepFailed extends Error {
  override readonly name: string = "StepFailed";

  constructor(
    readonly step: string,
    /** The name of the step's last error. */
    readonly errorType: string,
    /** Its message. */
    readonly reason: string,
  ) {
    super(reason ? `step "${step}" failed: ${errorType}: ${reason}` : `step "${step}" failed: ${errorType}`);
  }
}

/** An at-most-once step's process was lost: whether it took effect is unknown, and it is not repeated. */
export class StepInterrupted extends StepFailed {
  override readonly name = "StepInterrupted";
}

/** The run was cancelled: whatever the task awaits throws this, once. Clean-up may use steps. */
export class RunCancelled extends Error {
  override readonly name = "RunCancelled";

  constructor(runId: string) {
    super(`run ${runId} was cancelled`);
  }
}

/** A task asked for real I/O outside a step: no replay could repeat that. */
export class UnjournaledAwait extends Error {
  override readonly name = "UnjournaledAwait";

  constructor(readonly what: string) {
    super(
      `${what} was used in a task outside a step: a replay could not repeat it. ` +
        'Do it in a step, which runs once and is recorded: await ctx.step("name", () => ...)',
    );
  }
}

/** The run cannot go on with this code, and its log is as good as ever: other code can take it on. */
export class CannotGoOn extends Error {
  override readonly name: string = "CannotGoOn";
}

/** What the runtime of every worker in Node begins with. */
export const LANGUAGE = "node";

/** The run began in another language: no code of this one can be what its log came from. */
export class OtherRuntime extends CannotGoOn {
  override readonly name = "OtherRuntime";

  constructor(beganIn: string) {
    super(
      `the run began in ${beganIn}, and this worker is ${LANGUAGE}. It goes on with a worker of its own language. ` +
        "Give tasks of two languages different names, and this does not happen.",
    );
  }
}

/** The task ended with a RecordInvalid: what is stored does not fit what its code declares. */
export class RecordUnreadable extends CannotGoOn {
  override readonly name = "RecordUnreadable";

  constructor(record: RecordInvalid) {
    super(
      `${record.message}.\n` +
        "Deploy code whose declaration fits the record, and the run goes on from there; such code may also catch " +
        "RecordInvalid where it receives, and go on with the next record. Or cancel the run and start it anew.",
      { cause: record },
    );
  }
}

/** This code does other things than the log says. */
export class Diverged extends CannotGoOn {
  override readonly name = "Diverged";

  constructor(
    /** The entry by which the difference shows. */
    readonly offset: number,
    readonly expected: string,
    readonly issued: string,
  ) {
    super(
      `the code does not fit the log at offset ${offset}.\n` +
        `  the log:   ${expected}\n` +
        `  this code: ${issued}\n` +
        "Deploy the code that the run began with, and it goes on; or cancel the run and start it anew.",
    );
  }
}
