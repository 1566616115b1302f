// Sends a record for each line on its standard input, and says when it began: microseconds since 1970. The clock that
// Python's `time.time_ns` reads, too.
import { createInterface } from "node:readline";
import { connect } from "../client_ts/dist/index.js";

const [url, runId, stream, payloadBytes] = process.argv.slice(2);
const client = connect({ url });
const payload = new Uint8Array(Number(payloadBytes)).fill(7);

for await (const _ of createInterface({ input: process.stdin })) {
  const beganUs = (performance.timeOrigin + performance.now()) * 1000;
  await client.send(runId, stream, payload);
  process.stdout.write(`${beganUs}\n`);
}
client.close();
