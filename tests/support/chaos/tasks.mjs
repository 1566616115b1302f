// The task of `tasks.py` in TypeScript's runtime: any difference in what they mean would be a bug.
import { existsSync, renameSync } from "node:fs";
import { streams, task } from "../../../client_ts/dist/worker/index.js";

const words = streams.input({ id: "words" });
const steer = streams.input({ id: "steer" });

/** Kills this thread where a test has asked for it: whoever takes the order away obeys it. */
function obey() {
    const order = process.env.CHAOS_DIE;
    if (order === undefined || !existsSync(order)) return;
    try {
        renameSync(order, `${order}.${process.pid}.${Math.random()}`);
    } catch {
        return;
    }
    process.exit(7);
}

export const listens = task({
    id: "listens-typescript",
    run: async (_payload, ctx) => {
        const heard = [];
        const notes = [];
        const echoes = [];
        steer.on((note) => {
            notes.push(note);
        });
        for (;;) {
            const word = (await words.wait()).unwrap();
            if (word === "stop") return { heard, notes, echoes };
            heard.push(word);
            if (heard.length % 3 === 0) {
                echoes.push(
                    await ctx.step("echo", () => {
                        obey();
                        return heard.length;
                    }),
                );
            }
            if (heard.length % 5 === 0) await ctx.sleep("20ms");
        }
    },
});
