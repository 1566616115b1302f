import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { firstThatWorks, followByWebSocket } from "../../src/follow/web-socket.js";
import {
  FollowRequestSchema,
  type FollowResponse,
  FollowResponseSchema,
} from "../../src/gen/midstream/v1/stream_service_pb.js";

/** A socket whose other end is the test. */
class Socket {
  static readonly all: Socket[] = [];
  binaryType = "";
  closed = false;
  readonly sent: Uint8Array[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onerror: (() => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  constructor(readonly url: string) {
    Socket.all.push(this);
  }

  send(content: Uint8Array): void {
    this.sent.push(content);
  }

  close(): void {
    this.closed = true;
  }
}

const request = create(FollowRequestSchema, { targets: [{ ref: 1n, runId: "r", what: { case: "state", value: {} } }] });
const heartbeat = create(FollowResponseSchema, { what: { case: "heartbeat", value: {} } });
const message = () => ({ data: toBinary(FollowResponseSchema, heartbeat).slice().buffer });
const socket = () => Socket.all.at(-1) as Socket;
const options = () => ({ signal: new AbortController().signal, credentials: undefined, opened: vi.fn() });

beforeEach(() => {
  Socket.all.length = 0;
  vi.stubGlobal("WebSocket", Socket);
});
afterEach(() => vi.unstubAllGlobals());

it("sends the request when the socket is open, yields what comes, and closes it when left", async () => {
  const given = options();
  const following = followByWebSocket("https://host/base")(request, given)[Symbol.asyncIterator]();
  const first = following.next();
  expect(socket().url).toBe("wss://host/base/midstream.v1.StreamService/Follow");
  socket().onopen?.();
  expect(given.opened).toHaveBeenCalledOnce();
  expect(fromBinary(FollowRequestSchema, socket().sent[0] ?? new Uint8Array())).toEqual(request);
  socket().onmessage?.(message());
  expect((await first).value).toEqual(heartbeat);
  await following.return?.();
  expect(socket().closed).toBe(true);
});

it("throws where the socket breaks, after what came before; ends where the server says so", async () => {
  for (const code of [1006, 1000]) {
    const seen: FollowResponse[] = [];
    const reading = (async () => {
      for await (const response of followByWebSocket("http://host")(request, options())) seen.push(response);
    })();
    socket().onopen?.();
    socket().onmessage?.(message());
    socket().onclose?.({ code, reason: "" });
    if (code === 1000) await reading;
    else await expect(reading).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(seen).toHaveLength(1);
  }
});

it("falls back to the second way where no socket ever opened, and stays with what worked", async () => {
  const second = vi.fn(async function* () {
    yield heartbeat;
  });
  const follow = firstThatWorks(followByWebSocket("http://host"), second);
  const first = follow(request, options())[Symbol.asyncIterator]();
  const answer = first.next();
  socket().onerror?.();
  expect((await answer).value).toEqual(heartbeat);
  await follow(request, options())[Symbol.asyncIterator]().next();
  expect([second.mock.calls.length, Socket.all.length]).toEqual([2, 1]);
});
