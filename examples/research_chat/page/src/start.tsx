import { type FormEvent, useState } from "react";
import { Brand } from "./brand";

const TOPICS = ["Storing electricity for the grid", "Hydrogen or batteries?", "What happens to old batteries?"];

export function Start({
  onStart,
  problem,
}: {
  onStart: (topic: string) => Promise<void>;
  problem: string | undefined;
}) {
  const [topic, setTopic] = useState("");
  const [isStarting, setStarting] = useState(false);

  async function start(chosen: string) {
    setStarting(true);
    await onStart(chosen);
    setStarting(false);
  }

  function submit(event: FormEvent) {
    event.preventDefault();
    if (topic.trim() !== "") void start(topic.trim());
  }

  return (
    <main className="start">
      <Brand />
      <h1>
        Steer a task <em>while it runs</em>.
      </h1>
      <p className="lead">
        An agent researches a question in a worker process. What you click on this page reaches it in the middle of its
        function. When it waits for you, its process is gone, and nothing is lost.
      </p>
      <form onSubmit={submit}>
        <input
          aria-label="Topic"
          placeholder="What shall it research?"
          value={topic}
          maxLength={200}
          onChange={(event) => setTopic(event.target.value)}
        />
        <button type="submit" className="primary" disabled={isStarting || topic.trim() === ""}>
          Start
        </button>
      </form>
      <ul className="topics">
        {TOPICS.map((each) => (
          <li key={each}>
            <button type="button" disabled={isStarting} onClick={() => void start(each)}>
              {each}
            </button>
          </li>
        ))}
      </ul>
      {problem !== undefined && <p role="alert">{problem}</p>}
      <ol className="what">
        <li>
          <b>Typed streams into a run</b>
          <span>A button is a record on a named stream. It is on disk before you see that it was sent.</span>
        </li>
        <li>
          <b>Heard in the middle of the work</b>
          <span>
            The task's code says <code>user_message.on(heard)</code>. No polling, no restart.
          </span>
        </li>
        <li>
          <b>Waiting without a process</b>
          <span>
            <code>approval.wait("7d")</code> frees the process. Your answer brings the function back, variables and all.
          </span>
        </li>
      </ol>
    </main>
  );
}
