// What goes into a run of the chat's agent, and what comes out: chat/streams.py says the same.
import { streams } from "@midstream/client";

export type UserMessage = { kind: "ask" | "deeper" | "wrap-up"; text: string };
export type Approval = { approved: boolean };

export const userMessage = streams.input<UserMessage>({ id: "user-message" });
export const approval = streams.input<Approval>({ id: "approval" });
export const stop = streams.input<Record<string, never>>({ id: "stop" });

/** Which way the agent heard a record. */
export type How = "on" | "wait";

export type AgentEvent = {
  kind: "looking" | "nothing" | "found" | "concluding" | "heard" | "asking" | "published" | "stopped";
  pid: number;
  paragraph: number;
  question: string;
  source: string;
  stream: string;
  how: How | "";
};

export type Word = { paragraph: number; text: string };

export const PROGRESS = "progress";
export const ANSWER = "answer";
