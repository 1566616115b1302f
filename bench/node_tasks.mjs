// The tasks of managed_tasks.py that are measured beside their like in TypeScript. They tell by a named pipe, since Node
// has no datagram sockets; what is written to it is written at once, as a process's own clock is read.
import { openSync, writeSync } from "node:fs";
import { streams, task } from "../client_ts/dist/worker/index.js";

const numbers = streams.input({ id: "events" });
const pipes = new Map();

function tell(path, number) {
    if (!pipes.has(path)) pipes.set(path, openSync(path, "w"));
    const told = Buffer.alloc(24);
    told.writeBigInt64LE(BigInt(number), 0);
    told.writeBigInt64LE(process.hrtime.bigint(), 8);
    told.writeBigInt64LE(BigInt(process.pid), 16);
    writeSync(pipes.get(path), told);
}

/** Suspended between any two records. */
export const waiter = task({
    id: "bench-ts-waiter",
    idleTimeout: "0s",
    run: async (path) => {
        for (;;) {
            const number = (await numbers.wait()).unwrap();
            if (number !== 0) tell(path, number);
        }
    },
});

/** Tells when its first line runs, and stays warm until it is cancelled. */
export const beginner = task({
    id: "bench-ts-beginner",
    idleTimeout: "1h",
    run: async ({ path, number }) => {
        tell(path, number);
        await numbers.wait();
    },
});

/** Suspended and resumed as often as it is told. */
export const repeater = task({
    id: "bench-ts-repeater",
    idleTimeout: "0s",
    run: async (count) => {
        for (let resumed = 0; resumed < count; resumed += 1) await numbers.wait();
    },
});
