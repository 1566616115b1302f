import { type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate, timestampDate } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Calls } from "../calls.js";
import { type Duration, parseDuration } from "../duration.js";
import { MidstreamError } from "../error.js";
import {
  type AccessToken as TokenMessage,
  type AccessTokenSpecSchema,
  Scope_Action,
} from "../gen/midstream/v1/access_token_pb.js";
import { TokenService } from "../gen/midstream/v1/token_service_pb.js";
import { toDuration } from "../proto-duration.js";
import { type StreamOrId, streamId } from "../streams.js";

/** A right to do one thing with one run, or with one of its streams. */
export interface Scope {
  action: "send" | "read" | "cancel";
  /** Unset only in `startRun`: the run that is started. */
  runId?: string | undefined;
  /** Only this stream. */
  stream?: StreamOrId | undefined;
}

/** What a new access token is to allow. */
export interface TokenSpec {
  /** 1 to 32. */
  scopes: readonly Scope[];
  /** Who will hold it: stamped on each record as its sender's subject. */
  subject?: string | undefined;
  /** How long it is valid: 1 s to 30 days. Unset: 1 h. */
  ttl?: Duration | undefined;
  /** How many records can be sent with it in all. Unset: any number. */
  maxUses?: number | undefined;
}

/** A token for a frontend. */
export interface IssuedToken {
  /** What the frontend connects with. Secret. */
  readonly token: string;
  /** Names it without giving it away. */
  readonly tokenId: string;
  readonly expireTime: Date;
}

/** Tokens for frontends; for callers with an API key. */
export interface Tokens {
  mintToken(spec: TokenSpec, options?: CallOptions): Promise<IssuedToken>;
  /** Makes a token worthless at once, for ever; one that was signed elsewhere, too. */
  revokeToken(tokenId: string, options?: CallOptions & { expireTime?: Date | undefined }): Promise<void>;
}

export function createTokens(calls: Calls): Tokens {
  return {
    async mintToken(spec, options) {
      const request = { spec: toTokenSpec(spec) };
      return toIssuedToken((await calls.unary(TokenService.method.mintToken, request, options)).accessToken);
    },
    async revokeToken(tokenId, options) {
      const expireTime = options?.expireTime && timestampFromDate(options.expireTime);
      const request = { tokenId, ...(expireTime && { expireTime }) };
      await calls.unary(TokenService.method.revokeToken, request, options);
    },
  };
}

const ACTIONS = { send: Scope_Action.SEND, read: Scope_Action.READ, cancel: Scope_Action.CANCEL } as const;

export function toTokenSpec(spec: TokenSpec): MessageInitShape<typeof AccessTokenSpecSchema> {
  return {
    scopes: spec.scopes.map(({ action, runId = "", stream }) => ({
      action: ACTIONS[action],
      runId,
      streamId: stream === undefined ? "" : streamId(stream),
    })),
    subject: spec.subject ?? "",
    maxUses: spec.maxUses ?? 0,
    ...(spec.ttl !== undefined && { ttl: toDuration(parseDuration(spec.ttl)) }),
  };
}

export function toIssuedToken(token: TokenMessage | undefined): IssuedToken {
  if (!token?.expireTime) throw new MidstreamError("the server gave no token", { code: "INTERNAL" });
  return { token: token.token, tokenId: token.tokenId, expireTime: timestampDate(token.expireTime) };
}
