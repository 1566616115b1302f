import { act } from "@testing-library/react";
import { expect, test } from "vitest";
import { useInputStreamSend, useRecords } from "../../src/react/index.js";
import { memoryClient, record, refusal } from "./memory-client.js";
import { renderWithClient, started } from "./rendering.js";

function setUp(options: { stream?: string } = {}) {
  const { result, ...more } = renderWithClient(() => ({
    ...useRecords("run_1", options),
    ...useInputStreamSend("user-message", "run_1"),
  }));
  const feed = () => more.memory.openRecords()[0]?.options ?? expect.fail("nothing is followed");
  const sent = (index: number) => more.memory.sent[index] ?? expect.fail("it was not sent");
  const shown = () => [
    ...result.current.records.map((each) => each.value),
    ...result.current.pending.map((each) => `${String(each.value)} (${each.status})`),
  ];
  return { result, feed, sent, shown, ...more };
}

test("what is sent shows at once, is stored, and becomes the record", async () => {
  const { result, feed, sent, shown } = setUp();
  act(() => feed().onRecords([record(1)], 1));
  const outcome = started(() => result.current.send("hello"));
  expect(shown()).toEqual(["value 1", "hello (sending)"]);
  const key = result.current.pending[0]?.idempotencyKey;
  expect(key).toBe(sent(0).key);

  sent(0).accept({ offset: 2 });
  await act(() => outcome);
  expect(shown()).toEqual(["value 1", "hello (stored)"]);

  act(() => feed().onRecords([record(2, { value: "hello", idempotencyKey: sent(0).key })], 2));
  expect(shown()).toEqual(["value 1", "hello"]);
  expect(result.current.pending).toEqual([]);
});

test("the record may come before the receipt, and then shows once", async () => {
  const { result, feed, sent, shown } = setUp();
  const outcome = started(() => result.current.send("hello"));
  act(() => feed().onRecords([record(1, { value: "hello", idempotencyKey: sent(0).key })], 1));
  expect(shown()).toEqual(["hello"]);
  sent(0).accept({ offset: 1 });
  await act(() => outcome);
  expect(shown()).toEqual(["hello"]);
});

test("at no moment does it show twice or not at all", async () => {
  const frames: number[] = [];
  const memory = memoryClient();
  const { result } = renderWithClient(
    () => {
      const { records, pending } = useRecords("run_1");
      frames.push(records.length + pending.length);
      return useInputStreamSend("user-message", "run_1");
    },
    { memory },
  );
  const outcome = started(() => result.current.send("hello"));
  const before = frames.length;
  const key = memory.sent[0]?.key ?? "";
  memory.sent[0]?.accept({ offset: 1 });
  await act(() => outcome);
  act(() => memory.openRecords()[0]?.options.onRecords([record(1, { idempotencyKey: key })], 1));
  expect(frames.slice(before).every((count) => count === 1)).toBe(true);
});

test("a refused one stays with its error, and can be sent again with the same key or dismissed", async () => {
  const { result, sent, shown } = setUp();
  const outcome = started(() => result.current.send("hello"));
  sent(0).refuse(refusal("STREAM_FULL", "RESOURCE_EXHAUSTED"));
  await act(() => outcome);
  expect(shown()).toEqual(["hello (failed)"]);
  expect(result.current.pending[0]?.error?.reason).toBe("STREAM_FULL");

  act(() => result.current.pending[0]?.retry());
  expect(shown()).toEqual(["hello (sending)"]);
  expect(sent(1).key).toBe(sent(0).key);
  sent(1).refuse(refusal("STREAM_FULL", "RESOURCE_EXHAUSTED"));
  await act(async () => {});
  act(() => result.current.pending[0]?.dismiss());
  expect(shown()).toEqual([]);
});

test("a double click with one key shows one", async () => {
  const { result, feed, sent, shown } = setUp();
  const first = started(() => result.current.send("approve", { key: "approval" }));
  const second = started(() => result.current.send("approve", { key: "approval" }));
  expect(shown()).toEqual(["approve (sending)"]);
  sent(1).accept({ offset: 1, deduplicated: true });
  sent(0).accept({ offset: 1 });
  await act(() => Promise.all([first, second]));
  expect(shown()).toEqual(["approve (stored)"]);
  act(() => feed().onRecords([record(1, { value: "approve", idempotencyKey: "approval" })], 1));
  expect(shown()).toEqual(["approve"]);
});

test("a stored one that no list is going to bring is let go", async () => {
  const { result, feed, sent, shown } = setUp();
  act(() => feed().onRecords([record(5)], 5));
  const outcome = started(() => result.current.send("again", { key: "old" }));
  sent(0).accept({ offset: 3, deduplicated: true });
  await act(() => outcome);
  expect(shown()).toEqual(["value 5"]);

  const late = started(() => result.current.send("late"));
  sent(1).accept({ offset: 6 });
  await act(() => late);
  expect(shown()).toEqual(["value 5", "late (stored)"]);
  act(() => feed().onEnd?.());
  expect(result.current.status).toBe("ended");
});

test("a list of one stream shows only what was sent to it", async () => {
  const { result, sent, shown } = setUp({ stream: "approval" });
  const outcome = started(() => result.current.send("hello"));
  expect(shown()).toEqual([]);
  sent(0).accept();
  await act(() => outcome);
});
