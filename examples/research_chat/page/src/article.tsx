import type { Run } from "@midstream/client";
import { useEffect, useRef } from "react";
import type { Paragraph, Said, Story } from "./story";

/** The answer as it grows, and between its paragraphs what was said meanwhile. */
export function Article({ topic, story, run }: { topic: string | undefined; story: Story; run: Run | undefined }) {
  const scroller = useRef<HTMLElement>(null);
  const isAtEnd = useRef(true);
  const isWriting = run?.state === "RUNNING" && (story.now?.kind === "found" || story.now?.kind === "concluding");
  const last = story.article.findLast((item) => item.kind === "paragraph");

  // Stays at the end while it grows, unless somebody has scrolled up to read.
  const size = story.wordCount + story.article.length + (isWriting ? 0 : 0.5);
  useEffect(() => {
    const element = scroller.current;
    if (element && isAtEnd.current && size > 0) element.scrollTop = element.scrollHeight;
  }, [size]);

  function scrolled() {
    const element = scroller.current;
    if (element) isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 80;
  }

  let question = topic;
  return (
    <article ref={scroller} onScroll={scrolled} aria-label="Answer" aria-live="polite" aria-busy={isWriting}>
      <h1>{topic ?? " "}</h1>
      {story.article.map((item) => {
        if (item.kind === "said") return <Quote key={item.said.key} said={item.said} />;
        const isNewQuestion = item.paragraph.question !== "" && item.paragraph.question !== question;
        if (isNewQuestion) question = item.paragraph.question;
        return (
          <Text
            key={item.paragraph.number}
            paragraph={item.paragraph}
            heading={isNewQuestion ? item.paragraph.question : undefined}
            isWriting={isWriting && item === last}
          />
        );
      })}
      <Activity run={run} story={story} />
    </article>
  );
}

function Text(props: { paragraph: Paragraph; heading: string | undefined; isWriting: boolean }) {
  const { text, source } = props.paragraph;
  return (
    <>
      {props.heading !== undefined && <h2>{props.heading}</h2>}
      <p className={source === "" ? "conclusion" : ""}>
        {text}
        {props.isWriting ? <i className="caret" /> : source !== "" && <cite>{source.replace(/\.md$/, "")}</cite>}
      </p>
    </>
  );
}

function Quote({ said }: { said: Said }) {
  return (
    <blockquote className={said.state}>
      {said.text}
      {said.state === "failed" && (
        <>
          <span role="alert">{said.error?.message}</span>
          <button type="button" className="quiet" onClick={said.retry}>
            Try again
          </button>
        </>
      )}
    </blockquote>
  );
}

function Activity({ run, story }: { run: Run | undefined; story: Story }) {
  const text = activity(run, story);
  return text === undefined ? null : <p className="activity">{text}</p>;
}

function activity(run: Run | undefined, { now }: Story): string | undefined {
  if (run?.state === "QUEUED") return "Queued. What you send now is kept until it starts.";
  if (run?.state !== "RUNNING" || now === undefined) return undefined;
  if (now.kind === "looking") return `Looking up “${now.question}”`;
  if (now.kind === "nothing") return `Nothing more on “${now.question}”`;
  return undefined;
}
