/** Every vector against a real server, on each store, by gRPC; what browsers can call also by Connect. */

import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { signToken } from "../../src/node.js";
import { createFetchTransport } from "../../src/transport/fetch.js";
import { METHODS } from "./methods.js";
import { play } from "./play.js";
import { type Servers, startServers, STORES } from "./servers.js";
import { privateKey, signed } from "./sign.js";
import { DIRECTORY, type JsonObject, loadVectors, text, type Vector } from "./vector.js";

const vectors = loadVectors();
const isForBrowsers = ({ steps, server }: Vector) =>
  server !== "own" &&
  steps.every(({ rpc }) => rpc === undefined || METHODS.get(text(rpc))?.methodKind !== "bidi_streaming");

describe.each(STORES)("on %s", (store) => {
  let servers: Servers;
  beforeAll(async () => {
    servers = await startServers(store);
  }, 180_000);
  afterAll(() => servers.stop());

  const found = (vector: Vector) => {
    const server = servers.kinds[vector.server];
    if (!server) throw new Error(`no server is of the kind ${vector.server}`);
    return server;
  };
  it.each(vectors.map((vector) => [vector.name, vector] as const))("%s", async (_, vector) => {
    const server = found(vector);
    if (vector.server === "own") await servers.own("start");
    const session = new Http2SessionManager(server.url.replace("grpc://", "http://"));
    const transport = createGrpcTransport({
      baseUrl: session.authority,
      sessionManager: session,
      acceptCompression: [],
    });
    const played = { transport, variables: server.variables, own: (what: string) => servers.own(what) };
    expect(await play(vector, played)).toBe(vector.steps.length);
    session.abort();
  });

  // The web edge is the same for each store.
  const byConnect = store === "sqlite" ? vectors.filter(isForBrowsers) : [];
  it.each(byConnect.map((vector) => [vector.name, vector] as const))("%s by Connect", async (_, vector) => {
    const server = found(vector);
    const played = { transport: createFetchTransport(server.webUrl), variables: server.variables };
    expect(await play(vector, played)).toBe(vector.steps.length);
  });
});

it("passes over no file", () => {
  expect(new Set(vectors.map(({ name }) => name)).size).toBe(vectors.length);
  const called = new Set(vectors.flatMap(({ steps }) => steps.flatMap(({ rpc }) => (rpc === undefined ? [] : [rpc]))));
  expect([...called].filter((rpc) => !METHODS.has(text(rpc)))).toEqual([]);
  expect(vectors.filter(isForBrowsers).length).toBeGreaterThan(vectors.length / 2);
});

describe("access_token.json", () => {
  const known = JSON.parse(readFileSync(path.join(DIRECTORY, "access_token.json"), "utf8")) as Record<
    "apiKey" | "keyId" | "publicKey" | "token",
    string
  > & { header: JsonObject; claims: JsonObject };
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: known.publicKey }, format: "jwk" });

  it("is signed byte for byte", () => {
    expect(createPublicKey(privateKey(known.apiKey)).export({ format: "jwk" }).x).toBe(known.publicKey);
    expect(signed(known.header, known.claims, known.apiKey)).toBe(known.token);
  });

  it("is what the client's own tokens are", () => {
    const { token } = signToken(known.apiKey, { scopes: [{ action: "read", runId: "run_x" }], subject: "user-17" });
    const [header = "", claims = "", signature = ""] = token.split(".");
    const decoded = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString()) as JsonObject;
    expect(decoded(header)).toEqual(known.header);
    expect(decoded(claims)).toMatchObject({ iss: known.claims["iss"], sub: "user-17", scope: "read:run_x" });
    const bytes = Buffer.from(`${header}.${claims}`);
    expect(verify(null, bytes, publicKey, Buffer.from(signature, "base64url"))).toBe(true);
  });
});
