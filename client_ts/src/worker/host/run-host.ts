/** Executes one assignment of a run: turn by turn what the server sends, and the steps and timers in between. */

import type { Entry } from "../../gen/midstream/v1/entry_pb.js";
import type { WorkRequest, WorkResponse, WorkResponse_Assigned } from "../../gen/midstream/v1/worker_service_pb.js";
import { timerFired } from "../engine/entries.js";
import { CannotGoOn } from "../engine/errors.js";
import { Execution } from "../engine/execution.js";
import { failureOf } from "../engine/failures.js";
import { toUs } from "../engine/times.js";
import type { AnyTask } from "../task.js";
import { Alarm, type Clock, ServerTime } from "./clock.js";
import { Outbound } from "./outbound.js";
import { RunOutputs } from "./outputs.js";
import { type Caller, StepRunner } from "./step-runner.js";

const PROGRESS_RECORDS = 500;
const PROGRESS_US = 1_000_000;

export interface RunHostOptions {
  readonly send: (request: WorkRequest) => void;
  readonly caller: Caller;
  readonly clock: Clock;
  readonly idleTimeoutUs: number;
  readonly report?: (text: string, error: unknown) => void;
}

/**
 * Give it every frame of its run with `receive`, until its thread is ended, or until `close`.
 *
 * It executes one generation: a restarted run is assigned anew. Whatever happens to it, happens between two turns: frames,
 * alarms and ended steps wait for the turn that is being taken.
 */
export class RunHost {
  readonly execution: Execution;
  private readonly out: Outbound;
  private readonly outputs: RunOutputs;
  private readonly serverTime: ServerTime;
  private readonly steps: StepRunner;
  private readonly timerAlarm: Alarm;
  private readonly idleAlarm: Alarm;
  private readonly progressAlarm: Alarm;
  private readonly lastOffset: number;
  private idleTimeoutUs: number;
  private idleSinceUs = 0;
  private receivedOffset = 0;
  private knownThrough: number;
  private over = false;
  private queue: Promise<void> = Promise.resolve();

  constructor(
    private readonly assigned: WorkResponse_Assigned,
    task: AnyTask,
    private readonly options: RunHostOptions,
  ) {
    const { clock, send, caller, report } = options;
    const { runId, epoch } = assigned;
    this.lastOffset = Number(assigned.lastOffset);
    this.knownThrough = Number(assigned.suspended?.appliedOffset ?? 0n);
    this.idleTimeoutUs = options.idleTimeoutUs;
    const generation = Number(assigned.generation);
    const onStray = (): void => this.between(() => this.goOnStray());
    this.execution = new Execution(task, { runId, generation, onStray, ...(report === undefined ? {} : { report }) });
    this.out = new Outbound(runId, epoch, send);
    this.outputs = new RunOutputs({
      runId,
      epoch,
      send,
      onAllStored: () => this.between(() => this.settle()),
      report: report ?? (() => undefined),
    });
    this.serverTime = new ServerTime(clock);
    this.steps = new StepRunner({
      execution: this.execution,
      epoch,
      append: (entry) => this.between(() => this.appendFor(entry)),
      caller,
      clock,
      serverTime: this.serverTime,
      outputs: this.outputs,
    });
    this.timerAlarm = new Alarm(clock, () => this.between(() => this.askForTimers()));
    this.idleAlarm = new Alarm(clock, () => this.between(() => this.idle()));
    this.progressAlarm = new Alarm(clock, () => this.between(() => this.reportProgress()));
  }

  /** Takes a frame about this run, the assignment itself first, or `opened` after a new call has begun, or `drain`. */
  receive(frame: WorkResponse): void {
    this.between(() => this.takeFrame(frame));
  }

  /** Stops, for a host that shares its thread with others; says nothing to the server. */
  close(): void {
    if (this.over) return;
    this.end();
    this.execution.abandon();
  }

  /** Resolves when nothing is left to do but wait. For tests. */
  settled(): Promise<void> {
    return this.queue;
  }

  private between(act: () => void | Promise<void>): void {
    this.queue = this.queue.then(async () => {
      if (this.over) return;
      try {
        await act();
      } catch (error) {
        this.end();
        if (error instanceof CannotGoOn) this.out.block(failureOf(error));
        else this.out.release(`the runtime failed:\n${failureOf(error).stack}`, true);
      }
    });
  }

  private async takeFrame({ frame }: WorkResponse): Promise<void> {
    switch (frame.case) {
      case "assigned":
        // What was said when the run was suspended is in no entry.
        if (frame.value.suspended !== undefined) this.execution.check(frame.value.suspended);
        await this.receiveEntries(frame.value.entries);
        break;
      case "entries":
        await this.receiveEntries(frame.value.entries);
        break;
      case "suspendRefused":
        this.serverTime.exactly(toUs(frame.value.serverTime));
        this.out.answered("suspend");
        this.settle();
        break;
      case "early":
        this.serverTime.exactly(toUs(frame.value.serverTime));
        this.out.answered("timerFired", Number(frame.value.operation));
        this.settle();
        break;
      case "outputStored":
        this.outputs.stored(frame.value);
        break;
      case "opened":
        this.speakAgain();
        break;
      case "drain":
        this.idleTimeoutUs = 0;
        this.settle();
        break;
    }
  }

  private async receiveEntries(entries: readonly Entry[]): Promise<void> {
    for (const { checkpoint } of entries) {
      if (checkpoint !== undefined) this.knownThrough = Math.max(this.knownThrough, Number(checkpoint.appliedOffset));
    }
    for (const entry of entries) {
      const offset = Number(entry.offset);
      if (offset <= this.receivedOffset) continue; // known from an earlier call
      this.receivedOffset = offset;
      if (offset <= this.lastOffset) {
        this.execution.replayThrough = this.knownThrough;
        await this.execution.apply(entry);
        if (offset === this.lastOffset) this.live();
        continue;
      }
      this.serverTime.atLeast(toUs(entry.appendTime));
      this.out.cameBack(entry);
      if (entry.fact.case === "restarted") {
        // The server began the new generation, and the call broke before it assigned it.
        this.giveBack("the call broke while the run was restarted");
        return;
      }
      await this.execution.apply(entry);
      this.live();
    }
  }

  /** After each turn that was not taken before. */
  private live(): void {
    this.idleSinceUs = this.options.clock.nowUs();
    if (this.receivedOffset > this.lastOffset) this.out.unreportedRecords += 1;
    this.settle();
  }

  private async goOnStray(): Promise<void> {
    await this.execution.takeStrayTurn();
    this.settle();
  }

  /** Sees to it that what the task now waits for is under way. */
  private settle(): void {
    if (this.receivedOffset < this.lastOffset) return;
    this.appendOutputs();
    this.steps.follow();
    if (this.execution.ended) {
      this.conclude();
      return;
    }
    this.setTimerAlarm();
    this.setIdleAlarm();
    if (this.out.unreportedRecords >= PROGRESS_RECORDS) this.reportProgress();
    else if (this.out.unreportedRecords > 0 && !this.progressAlarm.isSet) {
      this.progressAlarm.set(this.options.clock.nowUs() + PROGRESS_US);
    }
  }

  private conclude(): void {
    if (this.out.isEnding) return;
    this.timerAlarm.set(undefined);
    this.idleAlarm.set(undefined);
    if (!this.outputs.allStored) return; // what was appended outlives the thread that is to end
    const { restart, outcome } = this.execution;
    if (restart !== undefined) this.out.restart(this.execution, restart);
    else if (outcome !== undefined) this.out.finish(this.execution, outcome);
  }

  /** A new call has begun. */
  private speakAgain(): void {
    // Said twice it would restart the run twice. Whether it was heard, the log knows.
    if (this.out.asked("restart")) this.giveBack("the call broke while the run was restarted");
    else {
      this.outputs.again();
      this.out.again(this.execution);
    }
  }

  private giveBack(reason: string): void {
    this.end();
    this.out.release(reason, false);
  }

  // Steps and timers.

  /** What is no longer awaited, since the turn that was being taken cancelled it, is not said. */
  private appendFor(entry: Entry): void {
    if (entry.fact.case !== "stepBegan" && entry.fact.case !== "stepEnded") return;
    const step = this.execution.steps.find(Number(entry.fact.value.operation));
    if (step === undefined) return;
    if (entry.fact.case === "stepEnded" && step.attempt !== entry.fact.value.attempt) return;
    this.append(entry);
  }

  private append(entry: Entry): void {
    this.outputs.sendAll();
    this.out.append(this.execution, entry);
  }

  /** Sends what the task has appended outside of steps. What preceded a suspension is known. */
  private appendOutputs(): void {
    const known = this.assigned.suspended?.operations ?? 0n;
    this.outputs.putAll(this.execution.newOutputs.splice(0).filter((record) => record.operation >= known));
  }

  private setTimerAlarm(): void {
    let earliest = Number.POSITIVE_INFINITY;
    for (const [operation, dueUs] of this.execution.timers.due()) {
      if (dueUs < earliest && !this.out.asked("timerFired", operation)) earliest = dueUs;
    }
    this.timerAlarm.set(Number.isFinite(earliest) ? this.serverTime.byOwnClock(earliest) : undefined);
  }

  private askForTimers(): void {
    const nowUs = this.serverTime.nowUs();
    const due = [...this.execution.timers.due()].filter(([, dueUs]) => dueUs <= nowUs);
    due.sort(([operation, dueUs], [other, otherUs]) => dueUs - otherUs || operation - other);
    for (const [operation, dueUs] of due) {
      if (!this.out.asked("timerFired", operation)) this.append(timerFired(operation, dueUs));
    }
    this.setTimerAlarm();
  }

  // Suspending.

  private setIdleAlarm(): void {
    if (!this.maySuspend) this.idleAlarm.set(undefined);
    else if (this.idleTimeoutUs === 0) this.idle();
    else if (!this.idleAlarm.isSet) this.idleAlarm.set(this.idleSinceUs + this.idleTimeoutUs);
  }

  private get maySuspend(): boolean {
    return this.execution.suspendable && this.outputs.allStored && !this.out.isEnding;
  }

  private idle(): void {
    if (!this.maySuspend) return;
    const untilUs = this.idleSinceUs + this.idleTimeoutUs;
    if (this.options.clock.nowUs() < untilUs) this.idleAlarm.set(untilUs);
    else this.out.suspend(this.execution);
  }

  private reportProgress(): void {
    this.progressAlarm.set(undefined);
    if (!this.execution.ended && this.out.unreportedRecords > 0) this.out.progress(this.execution);
  }

  private end(): void {
    this.over = true;
    for (const alarm of [this.timerAlarm, this.idleAlarm, this.progressAlarm]) alarm.set(undefined);
    this.steps.abortAll();
    this.outputs.close();
  }
}
