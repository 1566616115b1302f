import { act } from "@testing-library/react";
import { StrictMode, version } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { expect, test, vi } from "vitest";
import {
  MidstreamProvider,
  useConnection,
  useInputStreamSend,
  useOutputStream,
  useRecords,
  useRun,
} from "../../src/react/index.js";
import { memoryClient, record, refusal, runIn } from "./memory-client.js";
import { renderWithClient, started } from "./rendering.js";

const settled = () => act(async () => {});

test("this is the React that the suite is meant to run with", (context) => {
  expect(`react-${version.split(".")[0]}`).toBe(context.task.file.projectName);
});

test("follows once in StrictMode, and stops when unmounted", async () => {
  const { memory, unmount } = renderWithClient(() => useRecords("run_1"));
  await settled();
  expect(memory.recordFollows).toHaveLength(1);
  expect(memory.openRecords()[0]).toMatchObject({ runId: "run_1", options: { direction: "input", afterOffset: 0 } });
  unmount();
  await settled();
  expect(memory.openRecords()).toHaveLength(0);
});

test("shows records as they come; the list is the same until one comes", async () => {
  const { memory, result, rerender } = renderWithClient(() => useRecords("run_1"));
  expect(result.current).toMatchObject({ records: [], status: "open", error: undefined });
  const { options } = memory.openRecords()[0] ?? expect.fail();
  act(() => options.onRecords([record(1), record(2)], 2));
  const { records } = result.current;
  expect(records.map((each) => each.value)).toEqual(["value 1", "value 2"]);
  rerender(undefined);
  expect(result.current.records).toBe(records);
  act(() => options.onRecords([], 5));
  expect(result.current.records).toBe(records);
  act(() => options.onRecords([record(6)], 6));
  expect(result.current.records[0]).toBe(records[0]);
  act(() => options.onEnd?.());
  expect(result.current).toMatchObject({ status: "ended", records: { length: 3 } });
});

test("rewound records go, with the mark that says so", () => {
  const { memory, result } = renderWithClient(() => useOutputStream<string>("tokens", "run_1"));
  const { options } = memory.openRecords()[0] ?? expect.fail();
  expect(options).toMatchObject({ stream: "tokens", direction: "output" });
  const token = (offset: number, more = {}) =>
    record(offset, { streamId: "tokens", direction: "output", idempotencyKey: "", ...more });
  act(() => options.onRecords([token(1), token(2), token(3)], 3));
  act(() => options.onRecords([token(4, { value: undefined, rewound: [{ firstSeq: 2, lastSeq: 3 }] }), token(5)], 5));
  expect(result.current.records.map((each) => each.seq)).toEqual([1, 5]);
});

test("keeps the newest up to the limit", () => {
  const { memory, result } = renderWithClient(() => useRecords("run_1", { limit: 2 }));
  const { options } = memory.openRecords()[0] ?? expect.fail();
  act(() => options.onRecords([record(1), record(2), record(3)], 3));
  act(() => options.onRecords([record(4)], 4));
  expect(result.current.records.map((each) => each.seq)).toEqual([3, 4]);
  expect(result.current.omittedCount).toBe(2);
});

test("a refusal is shown; retry goes on from where it had got to", () => {
  const { memory, result } = renderWithClient(() => useRecords("run_1"));
  const { options } = memory.openRecords()[0] ?? expect.fail();
  act(() => options.onRecords([record(1)], 1));
  act(() => options.onError?.(refusal("TOKEN_REVOKED", "UNAUTHENTICATED")));
  expect(result.current).toMatchObject({
    status: "failed",
    error: { reason: "TOKEN_REVOKED" },
    records: { length: 1 },
  });
  expect(memory.openRecords()).toHaveLength(0);

  act(() => result.current.retry());
  expect(result.current).toMatchObject({ status: "open", error: undefined });
  expect(memory.openRecords()[0]?.options.afterOffset).toBe(1);
  act(() => memory.openRecords()[0]?.options.onRecords([record(2)], 2));
  expect(result.current.records.map((each) => each.seq)).toEqual([1, 2]);
  act(() => options.onRecords([record(99)], 99));
  expect(result.current.records, "the closed one counts no more").toHaveLength(2);
});

test("another token is used at once, from where it had got to", () => {
  const { memory, result, rerender } = renderWithClient(
    ({ accessToken }: { accessToken: string }) => useRecords("run_1", { accessToken }),
    { initialProps: { accessToken: "old" } },
  );
  expect(memory.openRecords().map((each) => each.accessToken)).toEqual(["old"]);
  act(() => memory.openRecords()[0]?.options.onRecords([record(1)], 1));
  act(() => memory.openRecords()[0]?.options.onError?.(refusal("TOKEN_EXPIRED", "UNAUTHENTICATED")));
  rerender({ accessToken: "new" });
  expect(memory.openRecords().map((each) => each.accessToken)).toEqual(["new"]);
  expect(memory.openRecords()[0]?.options.afterOffset).toBe(1);
  expect(result.current).toMatchObject({ status: "open", records: { length: 1 } });
});

test("a function for tokens may be another one in each render: nothing is opened anew, the newest one is asked", async () => {
  const { memory, rerender } = renderWithClient(
    ({ token }: { token: string }) => useRecords("run_1", { accessToken: () => Promise.resolve(token) }),
    { initialProps: { token: "first" } },
  );
  const ask = memory.openRecords()[0]?.accessToken as () => Promise<string>;
  expect(await ask()).toBe("first");
  rerender({ token: "second" });
  expect(memory.recordFollows).toHaveLength(1);
  expect(await ask()).toBe("second");
});

test.each([
  ["without a run", undefined, undefined],
  ["without a token yet", "run_1", null],
])("%s nothing is followed", (_, runId, accessToken) => {
  const { memory, result } = renderWithClient(() => ({
    records: useRecords(runId, { accessToken }),
    run: useRun(runId, { accessToken }),
  }));
  expect(result.current.records.status).toBe("idle");
  expect(result.current.run.status).toBe("idle");
  expect(memory.recordFollows).toHaveLength(0);
  expect(memory.runFollows).toHaveLength(0);
});

test("two components that look at the same share one subscription, until both have gone", async () => {
  const memory = memoryClient();
  const { result, rerender } = renderWithClient(
    ({ both }: { both: boolean }) => [useRecords("run_1").records, useRecords(both ? "run_1" : undefined).records],
    { memory, initialProps: { both: true } },
  );
  expect(memory.recordFollows).toHaveLength(1);
  act(() => memory.openRecords()[0]?.options.onRecords([record(1)], 1));
  expect(result.current[0]).toBe(result.current[1]);
  rerender({ both: false });
  await settled();
  expect(memory.openRecords()).toHaveLength(1);
});

test("another run is another list", async () => {
  const { memory, result, rerender } = renderWithClient(({ runId }: { runId: string }) => useRecords(runId), {
    initialProps: { runId: "run_1" },
  });
  act(() => memory.openRecords()[0]?.options.onRecords([record(1)], 1));
  rerender({ runId: "run_2" });
  expect(result.current.records).toEqual([]);
  await settled();
  expect(memory.openRecords().map((each) => each.runId)).toEqual(["run_2"]);
});

test("useRun gives the run again whenever it has changed", async () => {
  const { memory, result, unmount } = renderWithClient(() => useRun("run_1", { accessToken: "t" }));
  expect(result.current).toMatchObject({ run: undefined, status: "open" });
  expect(memory.runFollows).toHaveLength(1);
  expect(memory.runFollows[0]?.accessToken).toBe("t");
  act(() => memory.openRuns()[0]?.options.onRun(runIn("RUNNING")));
  act(() => memory.openRuns()[0]?.options.onRun(runIn("SUSPENDED")));
  expect(result.current.run?.state).toBe("SUSPENDED");
  act(() => memory.openRuns()[0]?.options.onEnd?.());
  expect(result.current).toMatchObject({ status: "ended", run: { state: "SUSPENDED" } });
  unmount();
  await settled();
  expect(memory.openRuns()).toHaveLength(0);
});

test("useConnection shows how the subscription stands", () => {
  const { memory, result, unmount } = renderWithClient(() => useConnection());
  expect(result.current).toBe("idle");
  act(() => memory.setConnection("retrying"));
  expect(result.current).toBe("retrying");
  unmount();
  expect(memory.connectionListeners.size).toBe(0);
});

function SeveralHooks() {
  const records = useRecords("run_1");
  const { run, status } = useRun("run_1");
  const { isReady } = useInputStreamSend("s", "run_1");
  return <p>{`${records.records.length} records, ${run?.state ?? status}, ${isReady}, ${useConnection()}`}</p>;
}

test("renders on a server without following anything, and hydrates without a difference", async () => {
  const memory = memoryClient();
  const page = (
    <StrictMode>
      <MidstreamProvider client={memory.client}>
        <SeveralHooks />
      </MidstreamProvider>
    </StrictMode>
  );
  const complaints = vi.spyOn(console, "error");
  const html = renderToString(page);
  expect(html).toContain("0 records, open, true, idle");
  expect(memory.recordFollows).toHaveLength(0);

  const container = document.createElement("div");
  container.innerHTML = html;
  const root = await act(async () => hydrateRoot(container, page));
  expect(memory.recordFollows).toHaveLength(1);
  act(() => memory.openRecords()[0]?.options.onRecords([record(1)], 1));
  expect(container.textContent).toContain("1 records");
  await act(async () => root.unmount());
  expect(memory.openRecords()).toHaveLength(0);
  expect(complaints).not.toHaveBeenCalled();
});

test("hooks that were given the same function hand the client the same one, so that it fetches one token", () => {
  const fetchToken = () => "t";
  const { memory, result } = renderWithClient(() => {
    useRecords("run_1", { accessToken: fetchToken });
    useRun("run_1", { accessToken: fetchToken });
    return useInputStreamSend("s", "run_1", { accessToken: fetchToken });
  });
  void started(() => result.current.send(1));
  const [follow] = memory.openRecords();
  expect(typeof follow?.accessToken).toBe("function");
  expect(memory.openRuns()[0]?.accessToken).toBe(follow?.accessToken);
  expect(memory.sent[0]?.accessToken).toBe(follow?.accessToken);
});
