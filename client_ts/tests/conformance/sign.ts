/** The `sign` step of a vector: an access token made from the contract's text, without the client's own code. */

import { createPrivateKey, hkdfSync, type KeyObject, randomUUID, sign as signBytes } from "node:crypto";
import { type JsonObject, text } from "./vector.js";

const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

/** `key` is an API key; `claims` and `header` are put over the usual ones. */
export function sign(step: JsonObject): string {
  const key = text(step["key"]);
  const now = Math.floor(Date.now() / 1_000);
  const claims: JsonObject = {
    ...{ iss: "midstream.v1", jti: randomUUID(), scope: "read:run_x", iat: 0, exp: 600 },
    ...(step["claims"] as JsonObject),
  };
  for (const name of ["iat", "exp"]) claims[name] = now + Number(claims[name]);
  const header = { alg: "EdDSA", typ: "JWT", kid: key.split("_")[1] ?? "", ...(step["header"] as JsonObject) };
  return signed(header, claims, key);
}

/** Compact JSON, in the order given. */
export function signed(header: JsonObject, claims: JsonObject, key: string): string {
  const text = `${part(JSON.stringify(header))}.${part(JSON.stringify(claims))}`;
  return `${text}.${signBytes(null, Buffer.from(text), privateKey(key)).toString("base64url")}`;
}

export function privateKey(key: string): KeyObject {
  const seed = Buffer.from(hkdfSync("sha256", key, "", "midstream.v1 access token", 32));
  return createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: "der", type: "pkcs8" });
}

function part(text: string): string {
  return Buffer.from(text).toString("base64url");
}
