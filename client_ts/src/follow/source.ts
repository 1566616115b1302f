import type { Transport } from "@connectrpc/connect";
import { only } from "../calls.js";
import { type FollowRequest, type FollowResponse, StreamService } from "../gen/midstream/v1/stream_service_pb.js";

/** One attempt at a subscription. */
export interface FollowOptions {
  readonly signal: AbortSignal;
  /** For the call itself; each target has its own besides. */
  readonly credentials: string | undefined;
  /** The server has been reached. */
  readonly opened: () => void;
}

/** Opens a subscription, which is read until it ends or throws. */
export type FollowSource = (request: FollowRequest, options: FollowOptions) => AsyncIterable<FollowResponse>;

/** Subscriptions by a server-streaming call. */
export function followByStream(transport: Transport): FollowSource {
  return async function* follow(request, { signal, credentials, opened }) {
    const headers = credentials === undefined ? undefined : { authorization: `Bearer ${credentials}` };
    const response = await transport.stream(StreamService.method.follow, signal, 0, headers, only(request));
    opened();
    yield* response.message;
  };
}
