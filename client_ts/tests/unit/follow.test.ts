import { afterEach, describe, expect, it, vi } from "vitest";
import { applyRewinds, type MidstreamError, type StreamRecord } from "../../src/index.js";
import { fakeServer } from "../../src/testing/index.js";

const jwt = (exp: number) => `e30.${btoa(JSON.stringify({ exp }))}.sig`;
const values = (records: readonly StreamRecord[]) => records.map((record) => record.value);

/** Follows a run's output and collects what comes. */
function collector() {
  const seen: StreamRecord[] = [];
  const errors: MidstreamError[] = [];
  let ended = 0;
  return {
    seen,
    errors,
    get ended() {
      return ended;
    },
    listener: {
      direction: "output" as const,
      onRecords: (records: StreamRecord[]) => void seen.push(...records),
      onEnd: () => {
        ended += 1;
      },
      onError: (error: MidstreamError) => void errors.push(error),
    },
  };
}

afterEach(() => vi.useRealTimers());

describe("following", () => {
  it("goes on after a drop without a gap or a repeat", async () => {
    const server = fakeServer();
    server.addRun("r");
    const client = server.connect();
    const { seen, listener } = collector();
    client.followRecords("r", listener);
    for (let round = 0; round < 5; round += 1) {
      server.appendOutput("r", "tokens", round * 2);
      await vi.waitFor(() => expect(seen).toHaveLength(round * 2 + 1));
      server.drop();
      server.appendOutput("r", "tokens", round * 2 + 1);
      await vi.waitFor(() => expect(seen).toHaveLength(round * 2 + 2));
    }
    expect(values(seen)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    client.close();
    await vi.waitFor(() => expect(server.openSubscriptions).toBe(0));
  });

  it("puts everything into one subscription, opened once for one turn's changes", async () => {
    const server = fakeServer();
    server.addRun("a");
    server.addRun("b");
    const client = server.connect();
    const [first, second] = [collector(), collector()];
    const runs: string[] = [];
    client.followRecords("a", first.listener);
    client.followRecords("b", second.listener);
    client.followRun("a", { onRun: (run) => runs.push(run.state) });
    server.appendOutput("a", "tokens", "for a");
    server.appendOutput("b", "tokens", "for b");
    await vi.waitFor(() => expect(first.seen.length + second.seen.length + runs.length).toBe(3));
    expect([values(first.seen), values(second.seen), runs]).toEqual([["for a"], ["for b"], ["RUNNING"]]);
    expect(server.subscriptionCount).toBe(1);

    const third = collector();
    client.followRecords("a", third.listener);
    await vi.waitFor(() => expect(values(third.seen)).toEqual(["for a"]));
    server.appendOutput("a", "tokens", "more");
    await vi.waitFor(() => expect(values(first.seen)).toEqual(["for a", "more"]));
    expect([server.subscriptionCount, server.openSubscriptions]).toEqual([2, 1]);
    client.close();
  });

  it("ends with the run, and closes the subscription when nothing is followed", async () => {
    const server = fakeServer();
    server.addRun("r");
    const client = server.connect();
    const states: string[] = [client.connection.state];
    client.connection.subscribe(() => states.push(client.connection.state));
    const tokens = collector();
    const runs: unknown[] = [];
    let runEnded = false;
    client.followRecords("r", tokens.listener);
    client.followRun("r", {
      onRun: (run) => runs.push(run.state, run.result),
      onEnd: () => {
        runEnded = true;
      },
    });
    await vi.waitFor(() => expect(runs).toEqual(["RUNNING", undefined]));
    server.appendOutput("r", "tokens", "last");
    server.setState("r", "COMPLETED", 42);
    await vi.waitFor(() => expect([tokens.ended, runEnded]).toEqual([1, true]));
    expect(values(tokens.seen)).toEqual(["last"]);
    expect(runs.slice(-2)).toEqual(["COMPLETED", 42]);
    await vi.waitFor(() => expect(states).toEqual(["idle", "connecting", "open", "idle"]));
    await vi.waitFor(() => expect(server.openSubscriptions).toBe(0));
  });

  it("tells one target's refusal to that target alone, at once", async () => {
    const server = fakeServer();
    server.addRun("r");
    const client = server.connect();
    const [missing, fine] = [collector(), collector()];
    client.followRecords("nope", missing.listener);
    client.followRecords("r", fine.listener);
    await vi.waitFor(() => expect(missing.errors).toMatchObject([{ reason: "RUN_NOT_FOUND", code: "NOT_FOUND" }]));
    server.appendOutput("r", "tokens", 1);
    await vi.waitFor(() => expect(values(fine.seen)).toEqual([1]));
    expect([fine.errors, server.subscriptionCount]).toEqual([[], 1]);
    client.close();
  });

  it("asks for a fresh token when the server says that one has expired, and again long before it would", async () => {
    const server = fakeServer();
    server.addRun("r");
    const [old, soonOver, fresh] = [jwt(4e9), jwt(Date.now() / 1000 + 20), jwt(4e9 + 1)];
    server.judge = ({ accessToken }) =>
      accessToken === old ? { code: "UNAUTHENTICATED", reason: "TOKEN_EXPIRED" } : undefined;
    const tokens = [old, soonOver, fresh];
    const fetchToken = vi.fn(() => tokens.shift() ?? fresh);
    const client = server.connect({ accessToken: fetchToken });
    const { seen, errors, listener } = collector();
    client.followRecords("r", listener);
    server.appendOutput("r", "tokens", 1);
    await vi.waitFor(() => expect(values(seen)).toEqual([1]));
    expect(fetchToken).toHaveBeenCalledTimes(2);
    server.drop();
    server.appendOutput("r", "tokens", 2);
    await vi.waitFor(() => expect(values(seen)).toEqual([1, 2]));
    expect(fetchToken).toHaveBeenCalledTimes(3);
    expect(errors).toEqual([]);
    client.close();
  });

  it("gives up where fresh tokens have expired, too, and where the token is a fixed one", async () => {
    const server = fakeServer();
    server.addRun("r");
    server.judge = () => ({ code: "UNAUTHENTICATED", reason: "TOKEN_EXPIRED" });
    const fetchToken = vi.fn(() => jwt(4e9));
    const client = server.connect();
    const [fetched, fixed] = [collector(), collector()];
    client.followRecords("r", { ...fetched.listener, accessToken: fetchToken });
    client.followRecords("r", { ...fixed.listener, accessToken: "fixed" });
    await vi.waitFor(() => expect([fetched.errors.length, fixed.errors.length]).toEqual([1, 1]));
    expect(fetched.errors[0]?.reason).toBe("TOKEN_EXPIRED");
    expect(fetchToken).toHaveBeenCalledTimes(2);
  });

  it("retries with back-off, wakes at once for new targets, and surfaces what no retry helps", async () => {
    const server = fakeServer();
    server.addRun("r");
    const client = server.connect();
    const { seen, errors, listener } = collector();
    server.fail({ code: "UNAVAILABLE" });
    client.followRecords("r", listener);
    await vi.waitFor(() => expect(client.connection.state).toBe("retrying"));
    server.recover();
    server.appendOutput("r", "tokens", 1);
    await vi.waitFor(() => expect(values(seen)).toEqual([1]));
    server.fail({ code: "UNAUTHENTICATED", reason: "CREDENTIALS_INVALID" });
    await vi.waitFor(() => expect(errors).toMatchObject([{ reason: "CREDENTIALS_INVALID" }]));
    expect(client.connection.state).toBe("idle");
  });

  it("opens another subscription when this one falls silent", async () => {
    vi.useFakeTimers();
    const server = fakeServer();
    server.addRun("r");
    const client = server.connect();
    const { listener } = collector();
    client.followRecords("r", listener);
    await vi.waitFor(() => expect(client.connection.state).toBe("open"));
    await vi.advanceTimersByTimeAsync(39_000);
    expect(server.subscriptionCount).toBe(1);
    await vi.advanceTimersByTimeAsync(2_000);
    await vi.waitFor(() => expect(server.subscriptionCount).toBe(2));
    client.close();
  });

  it("goes on when a listener throws", async () => {
    const server = fakeServer();
    server.addRun("r");
    const client = server.connect();
    const thrown: unknown[] = [];
    const report = (error: unknown) => void thrown.push(error);
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException").on("uncaughtException", report);
    try {
      const { seen, listener } = collector();
      client.followRecords("r", {
        ...listener,
        onRecords: () => {
          throw new Error("the page's own");
        },
      });
      client.followRecords("r", listener);
      server.appendOutput("r", "tokens", 1);
      await vi.waitFor(() => expect(values(seen)).toEqual([1]));
      await vi.waitFor(() => expect(thrown).toMatchObject([{ message: "the page's own" }]));
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const other of others) process.on("uncaughtException", other);
      client.close();
    }
  });
});

it("applyRewinds leaves out what was rewound, and the marks", async () => {
  const server = fakeServer();
  server.addRun("r");
  const client = server.connect();
  const { seen, listener } = collector();
  for (const token of ["a", "b", "c"]) server.appendOutput("r", "tokens", token);
  server.rewindOutput("r", "tokens", 2, 3);
  server.appendOutput("r", "other", "o");
  server.appendOutput("r", "tokens", "B");
  client.followRecords("r", listener);
  await vi.waitFor(() => expect(seen).toHaveLength(6));
  expect(values(applyRewinds(seen))).toEqual(["a", "o", "B"]);
  client.close();
});
