// One stream of each kind, for tests.
import { toStandardJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import { z } from "zod";
import { inputStream, streams } from "../../src/index.js";
import { UserMessageSchema } from "../gen/acme/v1/agent_pb.js";
import { EverythingSchema } from "../gen/acme/v1/everything_pb.js";

export const userMessage = inputStream(UserMessageSchema);
export const everything = inputStream(EverythingSchema);

export const order = inputStream({
  id: "order",
  schema: z.object({
    item: z.string().min(1),
    count: z.number().int().default(1),
    tags: z.record(z.string(), z.string()).optional(),
    lines: z.array(z.object({ price: z.number().positive() })).optional(),
  }),
  maxUnreadRecords: 1,
  whenFull: "dropOldest",
});

export const verdict = inputStream({
  id: "verdict",
  schema: toStandardJsonSchema(v.object({ approved: v.boolean(), note: v.optional(v.string(), "none") })),
  backendOnly: true,
});

export const note = streams.input<{ text: string }>({ id: "note" });
