// Sends what it is told, through the TypeScript client: a JSON object a line comes in, and its receipt goes out.
import { createInterface } from "node:readline";
import { connect } from "../../../client_ts/dist/index.js";

const client = connect({ url: process.argv[2], timeoutMs: 600_000 });

async function send({ number, run, stream, value, key }) {
    try {
        const { seq, offset, acceptTime, deduplicated } = await client.send(run, stream, value, { key });
        return { number, seq, offset, time: acceptTime.getTime(), deduplicated };
    } catch (error) {
        return { number, error: `${error.reason ?? error.code}: ${error.message}` };
    }
}

for await (const line of createInterface({ input: process.stdin })) {
    void send(JSON.parse(line)).then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
}
process.exit(0);
