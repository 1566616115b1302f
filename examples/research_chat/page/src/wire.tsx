import type { Run } from "@midstream/client";
import type { ReactNode } from "react";
import type { Story } from "./story";

/** The picture of it all: this page, the server, the task's process, and what passes between them. */
export function Wire({ run, story }: { run: Run | undefined; story: Story }) {
  const { said, heardCount, wordCount, pid } = story;
  const stored = said.filter((each) => each.state === "stored" || each.state === "heard").length;
  const waiting = stored - heardCount;
  return (
    <section className="wire" aria-label="What happens where">
      <Node title="This page" className="page">
        {said.length === 0 ? "send something" : `sent ${count(said.length, "record")}`}
      </Node>
      <Link there={said.length} back={wordCount} label="send" />
      <Node title="Midstream" className="server">
        {`${stored} on disk`}
        {waiting > 0 && !run?.isFinal && <i>{` · ${waiting} waiting`}</i>}
      </Node>
      <Link there={heardCount} back={wordCount} label={hasProcess(run) ? "on" : "wait"} isCut={!hasProcess(run)} />
      <TaskNode run={run} pid={pid} />
    </section>
  );
}

function TaskNode({ run, pid }: { run: Run | undefined; pid: number | undefined }) {
  const state = run?.state;
  const look = state === "RUNNING" ? "running" : run?.isFinal ? "ended" : "suspended";
  return (
    <Node title="The task" className={`task ${look}`} state={state}>
      {whatRuns(run, pid)}
    </Node>
  );
}

function whatRuns(run: Run | undefined, pid: number | undefined): string {
  if (run === undefined) return "…";
  if (run.isFinal) return "has ended";
  switch (run.state) {
    case "RUNNING":
      return pid === undefined ? "starts" : `process ${pid}`;
    case "QUEUED":
      return "waits for a worker";
    default:
      return "no process";
  }
}

function Node(props: { title: string; className: string; state?: string | undefined; children: ReactNode }) {
  return (
    <div className={`node ${props.className}`}>
      <b>{props.title}</b>
      <span>{props.children}</span>
      {props.state !== undefined && <em data-state={props.state}>{props.state.toLowerCase()}</em>}
    </div>
  );
}

/** A dot runs there for each record, and back for each word. */
function Link(props: { there: number; back: number; label: string; isCut?: boolean }) {
  return (
    <div className={props.isCut ? "link cut" : "link"} aria-hidden="true">
      <small>{props.label}</small>
      {props.back > 0 && <small>answer</small>}
      {props.there > 0 && <i key={`there ${props.there}`} className="dot there" />}
      {props.back > 0 && <i key={`back ${Math.floor(props.back / 3)}`} className="dot back" />}
    </div>
  );
}

export function hasProcess(run: Run | undefined): boolean {
  return run?.state === "RUNNING";
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
