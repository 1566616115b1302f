import { act } from "@testing-library/react";
import { expect, test } from "vitest";
import { MidstreamError } from "../../src/index.js";
import { useInputStreamSend, useRecords } from "../../src/react/index.js";
import { order } from "../types/streams.js";
import { memoryClient, record } from "./memory-client.js";
import { renderWithClient, started } from "./rendering.js";

function setUp() {
  const rendered = renderWithClient(
    () => ({ ...useRecords("run_1", { stream: order }), ...useInputStreamSend(order, "run_1") }),
    { memory: memoryClient() },
  );
  const feed = () => rendered.memory.openRecords()[0]?.options ?? expect.fail("nothing is followed");
  return { ...rendered, feed };
}

const of = (seq: number, value: unknown) => record(seq, { streamId: "order", value });

test("records come as the type has them, what does not fit is in `invalid`, and each stays the same object", () => {
  const { result, feed } = setUp();
  act(() => feed().onRecords([of(1, { item: "ice" }), of(2, { item: 5 })], 2));
  const [first] = result.current.records;
  expect(result.current.records.map(({ value }) => value)).toEqual([{ item: "ice", count: 1 }]);
  expect(result.current.invalid.map(({ seq, fields }) => [seq, Object.keys(fields)])).toEqual([[2, ["item"]]]);
  act(() => feed().onRecords([of(3, { item: "water", count: 2 })], 3));
  expect(result.current.records.map(({ seq }) => seq)).toEqual([1, 3]);
  expect(result.current.records[0]).toBe(first);
});

test("what is on its way shows as the record that it will be, and a refusal says which field", async () => {
  const { result, memory } = setUp();
  const outcome = started(() => result.current.send({ item: "ice" }));
  expect(result.current.pending[0]?.value).toEqual({ item: "ice", count: 1 });
  const fields = { item: "too cold" };
  memory.sent[0]?.refuse(new MidstreamError("it does not fit", { reason: "PAYLOAD_INVALID", fields }));
  await act(() => outcome);
  expect(result.current.error).toMatchObject({ reason: "PAYLOAD_INVALID", fields });
  expect(result.current.pending[0]).toMatchObject({ status: "failed", value: { item: "ice", count: 1 } });
});
