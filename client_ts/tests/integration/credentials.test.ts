import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type Client, connect } from "../../src/index.js";
import { signToken } from "../../src/node.js";
import { type LocalServer, localServer } from "../../src/testing/index.js";

const directory = mkdtempSync(path.join(tmpdir(), "midstream-keys-"));
const database = path.join(directory, "midstream.db");
let apiKey: string;
let server: LocalServer;
let backend: Client;

beforeAll(async () => {
  const [program = "", ...args] = (process.env["MIDSTREAM_SERVER"] ?? "midstream-server").split(/\s+/);
  const printed = execFileSync(program, [...args, "keys", "create", "--name", "backend", "--database", database], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  apiKey = /midstream_\S+/.exec(printed)?.[0] ?? "";
  server = await localServer({ database });
  backend = connect({ url: server.url, apiKey });
});

afterAll(async () => {
  backend.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

it("a run brings a token for its page, whose records carry the token's subject", async () => {
  const access = {
    scopes: [{ action: "send", stream: "words" } as const, { action: "read" } as const],
    subject: "ada",
  };
  const { run, accessToken } = await backend.startRun({ task: "t", access });
  const page = connect({ url: server.webUrl, accessToken: accessToken.token });
  await page.send(run.id, "words", "hello");
  await expect(page.send(run.id, "approval", true)).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
  await expect(page.send("run_other", "words", 1)).rejects.toMatchObject({ reason: "RUN_NOT_FOUND" });
  for await (const record of page.tail(run.id)) {
    expect(record).toMatchObject({ value: "hello", sender: { kind: "ACCESS_TOKEN", subject: "ada" } });
    break;
  }
  await backend.revokeToken(accessToken.tokenId, { expireTime: accessToken.expireTime });
  await expect(page.getRun(run.id)).rejects.toMatchObject({ reason: "TOKEN_REVOKED" });
  page.close();
});

it("a token that was signed here is as good as one that the server minted, and no better", async () => {
  const { run } = await backend.startRun({ task: "t" });
  const spec = { scopes: [{ action: "send" as const, runId: run.id }], subject: "bo", maxUses: 1, ttl: "90s" };
  for (const token of [signToken(apiKey, spec), await backend.mintToken(spec)]) {
    const page = connect({ url: server.webUrl, accessToken: token.token });
    await page.send(run.id, "words", "once");
    await expect(page.send(run.id, "words", "twice")).rejects.toMatchObject({ reason: "TOKEN_USED_UP" });
    page.close();
  }
  const forged = signToken(`${apiKey.slice(0, -1)}${apiKey.endsWith("A") ? "B" : "A"}`, spec);
  await expect(backend.send(run.id, "words", 1, { accessToken: forged.token })).rejects.toMatchObject({
    reason: "CREDENTIALS_INVALID",
  });
  expect(() => signToken("nonsense", spec)).toThrow("no API key");
  expect(() => signToken(apiKey, { ...spec, ttl: "31d" })).toThrow("30 days");
});

it("an expired token is fetched anew, for calls and for what is followed", async () => {
  const { run } = await backend.startRun({ task: "t" });
  const scopes = [{ action: "send", runId: run.id } as const, { action: "read", runId: run.id } as const];
  const expired = signToken(apiKey, { scopes, ttl: "1h" }, { now: new Date(Date.now() - 7_200_000) });
  const fresh = signToken(apiKey, { scopes });
  await expect(backend.getRun(run.id, { accessToken: expired.token })).rejects.toMatchObject({
    reason: "TOKEN_EXPIRED",
  });
  const tokens = [expired.token, fresh.token];
  const fetchToken = vi.fn(() => tokens.shift() ?? fresh.token);
  const page = connect({ url: server.webUrl, accessToken: fetchToken });
  await page.send(run.id, "words", 1);
  const seen: unknown[] = [];
  page.followRecords(run.id, { onRecords: (records) => seen.push(...records.map((record) => record.value)) });
  await vi.waitFor(() => expect(seen).toEqual([1]), 10_000);
  expect(fetchToken).toHaveBeenCalledTimes(2);
  page.close();
});

it("without credentials there is nothing", async () => {
  const nobody = connect({ url: server.url });
  await expect(nobody.getRun("r")).rejects.toMatchObject({ reason: "CREDENTIALS_MISSING", code: "UNAUTHENTICATED" });
  nobody.close();
});
