import { createPrivateKey, hkdfSync, sign } from "node:crypto";
import { parseDuration } from "./duration.js";
import type { IssuedToken, TokenSpec } from "./methods/tokens.js";
import { ulid } from "./random-key.js";
import { streamId } from "./streams.js";

const INFO = "midstream.v1 access token";
/** What comes before an Ed25519 seed in PKCS #8 (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const HOUR_MS = 3_600_000;
const MAX_TTL_MS = 30 * 24 * HOUR_MS;

/**
 * Signs an access token with an API key, without a call to the server. It is valid for as long as the key is. Node only; the
 * format is that of `AccessTokenSpec` in the contract. Throws TypeError or RangeError for what no server would take.
 */
export function signToken(apiKey: string, spec: TokenSpec, options: { now?: Date | undefined } = {}): IssuedToken {
  const keyId = /^midstream_([a-z0-9]+)_.+$/.exec(apiKey)?.[1];
  if (keyId === undefined) {
    throw new TypeError("this is no API key: one begins with `midstream_` and has three parts");
  }
  if (spec.scopes.length < 1 || spec.scopes.length > 32) {
    throw new RangeError(`a token has 1 to 32 scopes, got ${spec.scopes.length}`);
  }
  const ttlMs = spec.ttl === undefined ? HOUR_MS : parseDuration(spec.ttl);
  if (ttlMs < 1_000 || ttlMs > MAX_TTL_MS) throw new RangeError(`a token is valid for 1 s to 30 days, not ${spec.ttl}`);
  const issuedAt = Math.floor((options.now ?? new Date()).getTime() / 1_000);
  const expiresAt = issuedAt + Math.ceil(ttlMs / 1_000);
  const tokenId = ulid();
  const claims = {
    iss: "midstream.v1",
    jti: tokenId,
    sub: spec.subject ?? "",
    scope: spec.scopes.map(scopeText).join(" "),
    iat: issuedAt,
    // Rounding up must not make it longer than the server takes.
    exp: Math.min(expiresAt, issuedAt + MAX_TTL_MS / 1_000),
    ...(spec.maxUses ? { uses: spec.maxUses } : {}),
  };
  const head = `${encoded({ alg: "EdDSA", typ: "JWT", kid: keyId })}.${encoded(claims)}`;
  const signature = sign(null, Buffer.from(head), privateKey(apiKey)).toString("base64url");
  return { token: `${head}.${signature}`, tokenId, expireTime: new Date(claims.exp * 1_000) };
}

function privateKey(apiKey: string) {
  const seed = Buffer.from(hkdfSync("sha256", apiKey, "", INFO, 32));
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
}

function scopeText({ action, runId, stream }: TokenSpec["scopes"][number]): string {
  if (!runId) throw new TypeError("a scope of a signed token names its run");
  return `${action}:${runId}${stream === undefined ? "" : `/${streamId(stream)}`}`;
}

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}
