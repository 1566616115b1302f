import type { Run } from "@midstream/client";
import type { Moment, Said, Story } from "./story";
import { hasProcess } from "./wire";

/** What reached the task and how, beside its process: a line while there is one, a gap while there is none. */
export function Timeline({ run, story }: { run: Run | undefined; story: Story }) {
  return (
    <aside aria-label="What reached the task">
      <h2>What reached the task</h2>
      <ol className="timeline">
        {run && <Row time={run.createTime} className="none" title="Created" detail={run.id} />}
        {story.moments.map((moment) => (
          <MomentRow key={keyOf(moment)} moment={moment} last={story.moments.at(-1)} run={run} />
        ))}
        {run?.state === "SUSPENDED" && (
          <li className="gap now" aria-current="step">
            <b>Suspended: no process</b>
            <span>The function stands in the middle of its code, on disk. Anything that you send brings it back.</span>
          </li>
        )}
        {run?.finishTime && <Row time={run.finishTime} className="end" title={`Run ${run.state.toLowerCase()}`} />}
        {hasProcess(run) && <li className="alive now" aria-current="step" />}
      </ol>
      <p className="legend">
        <span className="how on">on</span> heard in the middle of the work
        <span className="how wait">wait</span> waited for, without a process
      </p>
    </aside>
  );
}

function MomentRow({ moment, last, run }: { moment: Moment; last: Moment | undefined; run: Run | undefined }) {
  const isAsleep = run?.state === "SUSPENDED" && moment === last;
  const rail = moment.inGap || isAsleep ? "gap" : "alive";
  switch (moment.kind) {
    case "said":
      return <SaidRow said={moment.said} rail={rail} isOver={run?.isFinal ?? false} />;
    case "process":
      return moment.isFirst ? (
        <Row time={moment.time} className={rail} title={`Process ${moment.pid}`} detail="A worker runs the function." />
      ) : (
        <Row
          time={moment.time}
          className={rail}
          title={`A new process, ${moment.pid}`}
          detail="The log was replayed: the function goes on where it was."
        />
      );
    case "asking":
      return <Row time={moment.time} className={rail} title="Asks for approval" detail="approval.wait(timeout=“7d”)" />;
    case "published":
      return <Row time={moment.time} className={rail} title="Published" />;
    case "stopped":
      return <Row time={moment.time} className={rail} title="Stopped" />;
  }
}

function SaidRow({ said, rail, isOver }: { said: Said; rail: string; isOver: boolean }) {
  return (
    <li className={`${rail} said ${said.state}`}>
      <time dateTime={said.time.toISOString()}>{clock(said.time)}</time>
      <b>{said.isQuote ? `“${said.text}”` : said.text}</b>
      <span>
        <code>{said.stream}</code>
        {said.how && <span className={`how ${said.how}`}>{said.how}</span>}
        <small>{fate(said, isOver)}</small>
      </span>
    </li>
  );
}

function fate(said: Said, isOver: boolean): string {
  switch (said.state) {
    case "sending":
      return "on its way";
    case "stored":
      return isOver ? "unconsumed" : "on disk, waits for the task";
    case "heard":
      return said.how === "on" ? "heard while it worked" : "brought it back";
    case "failed":
      return said.error?.message ?? "refused";
  }
}

function Row({ time, className, title, detail }: { time: Date; className: string; title: string; detail?: string }) {
  return (
    <li className={className}>
      <time dateTime={time.toISOString()}>{clock(time)}</time>
      <b>{title}</b>
      {detail !== undefined && <span>{detail}</span>}
    </li>
  );
}

function keyOf(moment: Moment): string {
  return moment.kind === "said" ? moment.said.key : `${moment.kind} ${moment.time.getTime()}`;
}

function clock(time: Date): string {
  return time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
