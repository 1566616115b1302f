// From a run's records to what the page shows. No React, no network.
import type { MidstreamError, StreamRecord } from "@midstream/client";
import type { PendingRecord } from "@midstream/client/react";
import {
  ANSWER,
  type AgentEvent,
  type Approval,
  approval,
  type How,
  PROGRESS,
  stop,
  type UserMessage,
  type Word,
} from "./streams";

/** Something that somebody sent into the run. */
export type Said = {
  key: string;
  stream: string;
  text: string;
  /** A question or wish in the user's own words, not a button. */
  isQuote: boolean;
  sender: string;
  time: Date;
  /** On its way, on disk, received by the task, refused. */
  state: "sending" | "stored" | "heard" | "failed";
  how: How | undefined;
  error: MidstreamError | undefined;
  retry: (() => void) | undefined;
};

export type Paragraph = { number: number; question: string; source: string; text: string; time: Date };

/** A row of the timeline. `inGap`: there was no process behind it. */
export type Moment =
  | { kind: "said"; said: Said; time: Date; inGap: boolean }
  | { kind: "process"; pid: number; isFirst: boolean; time: Date; inGap: false }
  | { kind: "asking" | "published" | "stopped"; time: Date; inGap: boolean };

export type Story = {
  article: ({ kind: "paragraph"; paragraph: Paragraph; time: Date } | { kind: "said"; said: Said; time: Date })[];
  moments: Moment[];
  said: Said[];
  heardCount: number;
  wordCount: number;
  /** What the agent does now. */
  now: AgentEvent | undefined;
  /** The newest process that has spoken. */
  pid: number | undefined;
};

export function tell(
  inputs: readonly StreamRecord[],
  pending: readonly PendingRecord[],
  outputs: readonly StreamRecord[],
): Story {
  const events = outputs.filter((record) => record.streamId === PROGRESS) as readonly StreamRecord<AgentEvent>[];
  const words = outputs.filter((record) => record.streamId === ANSWER) as readonly StreamRecord<Word>[];

  const hows = new Map<string, How[]>();
  for (const { value } of events) {
    if (value.kind !== "heard" || value.how === "") continue;
    const ofStream = hows.get(value.stream) ?? [];
    ofStream.push(value.how);
    hows.set(value.stream, ofStream);
  }
  const said = [
    // Records are heard in order, so the third one that was heard is the one with seq 3.
    ...inputs.map((record) => fromRecord(record, hows.get(record.streamId)?.[record.seq - 1])),
    ...pending.map(fromPending),
  ];

  const paragraphs = new Map<number, Paragraph>();
  for (const { value, acceptTime: time } of events) {
    if (value.kind !== "found" && value.kind !== "concluding") continue;
    const { paragraph: number, question, source } = value;
    paragraphs.set(number, { number, question, source, text: "", time });
  }
  for (const { value } of words) {
    const paragraph = paragraphs.get(value.paragraph);
    if (paragraph) paragraph.text += paragraph.text === "" ? value.text : ` ${value.text}`;
  }

  const told = events.filter(({ value }) => value.kind !== "heard");
  return {
    article: inOrder([
      ...[...paragraphs.values()].map((paragraph) => ({ kind: "paragraph" as const, paragraph, time: paragraph.time })),
      ...said.filter((each) => each.isQuote).map((each) => ({ kind: "said" as const, said: each, time: each.time })),
    ]),
    moments: moments(said, told),
    said,
    heardCount: said.filter((each) => each.state === "heard").length,
    wordCount: words.length,
    now: told.at(-1)?.value,
    pid: told.findLast(({ value }) => value.pid !== 0)?.value.pid,
  };
}

function moments(said: readonly Said[], events: readonly StreamRecord<AgentEvent>[]): Moment[] {
  const found: Moment[] = [];
  let pid: number | undefined;
  let isWaiting = false;
  const happened = inOrder<{ time: Date; said?: Said; event?: AgentEvent }>([
    ...events.map((record) => ({ time: record.acceptTime, event: record.value })),
    ...said.map((each) => ({ time: each.time, said: each })),
  ]);
  let sinceAsking: Moment[] = [];
  for (const { time, said, event } of happened) {
    if (said) {
      const moment: Moment = { kind: "said", said, time, inGap: false };
      found.push(moment);
      if (isWaiting) sinceAsking.push(moment);
      continue;
    }
    if (!event) continue;
    if (event.pid !== 0 && event.pid !== pid) {
      // Another process goes on after the wait: so there was none when what it waited for came.
      for (const moment of sinceAsking) if (moment.kind !== "process") moment.inGap = true;
      found.push({ kind: "process", pid: event.pid, isFirst: pid === undefined, time, inGap: false });
      pid = event.pid;
    }
    isWaiting = event.kind === "asking";
    sinceAsking = [];
    if (event.kind === "asking" || event.kind === "published" || event.kind === "stopped") {
      const moment: Moment = { kind: event.kind, time, inGap: false };
      found.push(moment);
      if (isWaiting) sinceAsking.push(moment);
    }
  }
  return found;
}

function fromRecord(record: StreamRecord, how: How | undefined): Said {
  return {
    key: `${record.streamId} ${record.idempotencyKey}`,
    stream: record.streamId,
    ...worded(record.streamId, record.value),
    sender: record.sender.subject,
    time: record.acceptTime,
    state: how === undefined ? "stored" : "heard",
    how,
    error: undefined,
    retry: undefined,
  };
}

function fromPending(record: PendingRecord): Said {
  return {
    key: `${record.streamId} ${record.idempotencyKey}`,
    stream: record.streamId,
    ...worded(record.streamId, record.value),
    sender: "",
    time: record.sendTime,
    state: record.status,
    how: undefined,
    error: record.error,
    retry: record.retry,
  };
}

function worded(stream: string, value: unknown): { text: string; isQuote: boolean } {
  if (stream === approval.id) {
    return { text: (value as Approval).approved ? "Publish it" : "Keep going", isQuote: false };
  }
  if (stream === stop.id) return { text: "Stop", isQuote: false };
  const { kind, text } = value as UserMessage;
  if (kind === "ask") return { text, isQuote: true };
  return { text: kind === "deeper" ? "Go deeper" : "Wrap up", isQuote: true };
}

/** By time; what has the same time stays in its order. */
function inOrder<T extends { time: Date }>(items: T[]): T[] {
  return items.sort((a, b) => a.time.getTime() - b.time.getTime());
}
