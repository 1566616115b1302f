import { renderHook } from "@testing-library/react";
import { expect, expectTypeOf, test } from "vitest";
import { useInputStreamSend } from "../../src/react/index.js";
import { streams } from "../../src/streams.js";
import { refusal } from "./memory-client.js";
import { answered, renderWithClient, started } from "./rendering.js";

type Message = { kind: "instruction" | "wrap-up"; text: string };
const userMessage = streams.input<Message>({ id: "user-message" });
const message: Message = { kind: "instruction", text: "go deeper" };

test("stores a value and gives its receipt", async () => {
  const { memory, result } = renderWithClient(() => useInputStreamSend(userMessage, "run_1", { accessToken: "t" }));
  expect(result.current).toMatchObject({ isReady: true, isSending: false, error: undefined, lastReceipt: undefined });

  const outcome = started(() => result.current.send(message));
  expect(result.current.isSending).toBe(true);
  expect(memory.sent).toHaveLength(1);
  expect(memory.sent[0]).toMatchObject({ runId: "run_1", streamId: "user-message", value: message, accessToken: "t" });
  memory.sent[0]?.accept({ seq: 7 });

  expect(await answered(outcome)).toMatchObject({ ok: true, receipt: { seq: 7 } });
  expect(result.current).toMatchObject({ isSending: false, error: undefined, lastReceipt: { seq: 7 } });
});

test("a refusal is a value and never a rejection", async () => {
  const { memory, result } = renderWithClient(() => useInputStreamSend(userMessage, "run_1"));
  const outcome = started(() => result.current.send(message));
  memory.sent[0]?.refuse(refusal("RUN_FINISHED"));

  expect(await answered(outcome)).toMatchObject({ ok: false, error: { reason: "RUN_FINISHED" } });
  expect(result.current).toMatchObject({ isSending: false, error: { reason: "RUN_FINISHED" }, lastReceipt: undefined });

  const again = started(() => result.current.send(message));
  memory.sent[1]?.accept({ seq: 1 });
  await answered(again);
  expect(result.current.error).toBeUndefined();
});

test("whatever the client throws is an error of ours", async () => {
  const { memory, result } = renderWithClient(() => useInputStreamSend("s", "run_1"));
  const outcome = started(() => result.current.send(1));
  memory.sent[0]?.refuse(new TypeError("a BigInt cannot be JSON") as never);
  expect(await answered(outcome)).toMatchObject({ ok: false, error: { name: "MidstreamError" } });
  expect((await outcome).error?.cause).toBeInstanceOf(TypeError);
});

test.each([
  ["no run", undefined, "t"],
  ["no token yet", "run_1", null],
])("with %s it is not ready, and says so when asked to send", async (_, runId, accessToken) => {
  const { memory, result } = renderWithClient(() => useInputStreamSend(userMessage, runId, { accessToken }));
  expect(result.current.isReady).toBe(false);
  const outcome = await started(() => result.current.send(message));
  expect(outcome).toMatchObject({ ok: false, error: { code: "FAILED_PRECONDITION" } });
  expect(result.current.error?.message).toMatch(/isReady/);
  expect(memory.sent).toHaveLength(0);
});

test("is sending until the last answer is there", async () => {
  const { memory, result } = renderWithClient(() => useInputStreamSend(userMessage, "run_1"));
  const first = started(() => result.current.send(message));
  const second = started(() => result.current.send(message));
  expect(memory.sent[0]?.key).not.toBe(memory.sent[1]?.key);
  memory.sent[1]?.accept();
  await answered(second);
  expect(result.current.isSending).toBe(true);
  memory.sent[0]?.accept();
  await answered(first);
  expect(result.current.isSending).toBe(false);
});

test("send is the same function from render to render, and uses the newest token", async () => {
  const { memory, result, rerender } = renderWithClient(
    ({ accessToken }: { accessToken: string }) => useInputStreamSend(userMessage, "run_1", { accessToken }),
    { initialProps: { accessToken: "old" } },
  );
  const { send } = result.current;
  rerender({ accessToken: "new" });
  expect(result.current.send).toBe(send);
  const outcome = started(() => send(message));
  expect(memory.sent[0]?.accessToken).toBe("new");
  memory.sent[0]?.accept();
  await answered(outcome);
});

test("another run begins with nothing sent, and a late answer of the old one is not shown on it", async () => {
  const { memory, result, rerender } = renderWithClient(
    ({ runId }: { runId: string }) => useInputStreamSend(userMessage, runId),
    { initialProps: { runId: "run_1" } },
  );
  const outcome = started(() => result.current.send(message));
  rerender({ runId: "run_2" });
  expect(result.current.isSending).toBe(false);
  memory.sent[0]?.refuse(refusal("RUN_FINISHED"));
  expect(await answered(outcome)).toMatchObject({ ok: false });
  expect(result.current.error).toBeUndefined();
});

test("an answer after the component has gone does no harm", async () => {
  const { memory, result, unmount } = renderWithClient(() => useInputStreamSend(userMessage, "run_1"));
  const outcome = started(() => result.current.send(message));
  unmount();
  memory.sent[0]?.accept({ seq: 3 });
  expect(await answered(outcome)).toMatchObject({ ok: true, receipt: { seq: 3 } });
});

test("passes on key, metadata, signal and timeout", async () => {
  const { memory, result } = renderWithClient(() => useInputStreamSend(userMessage, "run_1"));
  const outcome = started(() => result.current.send(message, { key: "click-1", timeoutMs: 5 }));
  expect(memory.sent[0]?.key).toBe("click-1");
  memory.sent[0]?.accept({ deduplicated: true });
  expect((await answered(outcome)).receipt?.deduplicated).toBe(true);
});

test("without a provider it says what is missing", () => {
  expect(() => renderHook(() => useInputStreamSend("s", "run_1"))).toThrow(/MidstreamProvider/);
});

test("send is typed by the stream", () => {
  const { result } = renderWithClient(() => useInputStreamSend(userMessage, "run_1"));
  expectTypeOf(result.current.send).parameter(0).toEqualTypeOf<Message>();
  const byName = renderWithClient(() => useInputStreamSend("user-message", "run_1"));
  expectTypeOf(byName.result.current.send).parameter(0).toEqualTypeOf<unknown>();
});
