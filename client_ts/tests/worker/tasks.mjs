// Tasks for tests with real workers. JavaScript, so that they run as they are.
import { output, step, streams, task } from "@midstream/client/worker";

const words = streams.input({ id: "words" });
const approval = streams.input({ id: "approval" });

const shout = step(async function shout(word) {
    return word.toUpperCase();
});

/** Gathers words until one is "enough", then waits for an approval. */
export const gather = task({
    id: "ts-gather",
    idleTimeout: "0s",
    run: async (payload, ctx) => {
        const heard = [];
        words.on(async (word) => {
            heard.push(await shout(word));
        });
        while (!heard.includes("ENOUGH")) await ctx.sleep("30ms");
        ctx.output("progress").append({ heard: heard.length });
        const answer = await approval.wait({ timeout: "7d" });
        return { payload, heard, approved: answer.ok && answer.output, began: ctx.random() };
    },
});

/** Streams its answer from inside a step. */
export const tokens = task({
    id: "ts-tokens",
    run: async (_payload, ctx) =>
        ctx.step(
            "generate",
            async ({ attempt }) => {
                const out = output("tokens");
                for (const token of ["half", "an", "answer"]) out.append(`${token} ${attempt}`);
                await out.flush();
                if (attempt === 1) throw new Error("the model is gone");
                return attempt;
            },
            { retry: { maxAttempts: 2, firstDelay: "1ms" } },
        ),
});

export const fails = task({
    id: "ts-fails",
    run: async () => {
        throw new RangeError("on purpose");
    },
});

/** Its thread is gone as soon as the step runs, but the first time only. */
export const dies = task({
    id: "ts-dies",
    run: async (_payload, ctx) => {
        try {
            return await ctx.step("die", () => process.exit(7), { atMostOnce: true });
        } catch (error) {
            return error.name;
        }
    },
});

export const starts = task({
    id: "ts-starts",
    run: async (payload, ctx) => {
        const child = await ctx.startRun(payload.task, { from: ctx.runId });
        const receipt = await ctx.send(child.id, "words", "enough");
        return { child: child.id, seq: receipt.seq };
    },
});

export const restarts = task({
    id: "ts-restarts",
    run: async (payload, ctx) => {
        const count = payload?.count ?? 0;
        const word = (await words.wait()).unwrap();
        if (count < 2) ctx.restartWith({ count: count + 1, words: [...(payload?.words ?? []), word] });
        return { generation: ctx.generation, words: [...payload.words, word] };
    },
});
