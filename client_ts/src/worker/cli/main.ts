#!/usr/bin/env node
/** `midstream worker FILE...`: executes the tasks that these modules export. `midstream schema push`: see schema.ts. */

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { parseDuration } from "../../duration.js";
import { reporter } from "../supervisor/report.js";
import { runWorker } from "../supervisor/run-worker.js";
import { schemaCommand } from "./schema.js";

const HELP = `Usage: midstream worker [options] FILE...
       midstream schema push [options] FILE...

Executes the runs of the tasks that these modules export, each in a thread of its own, until stopped. A run that waits is
suspended after a while and its thread ends; what it waits for brings it back, here or on another worker.

Options:
  --url URL                 the server [MIDSTREAM_URL; default: grpc://127.0.0.1:7733]
  --credit N                how many runs have a thread at a time; suspended ones have none [MIDSTREAM_CREDIT; default: 100]
  --spares N                how many threads wait, warmed up, for the next run [MIDSTREAM_SPARES; default: 2]
  --idle-timeout DURATION   how long a run that waits keeps its thread, such as 0s or 1m [MIDSTREAM_IDLE_TIMEOUT; default:
                            as its task says, or 5s]
  --drain-timeout DURATION  when told to stop: how long runs in the middle of a step may go on [MIDSTREAM_DRAIN_TIMEOUT;
                            default: 30s]
  --directory DIR           where to look for the modules [default: .]
  --worker-id ID            a name that no other living worker has [MIDSTREAM_WORKER_ID; default: a random one]
  --push-schemas            first register the types of the streams that the modules declare, for everybody who sends to
                            them [MIDSTREAM_PUSH_SCHEMAS]
  --lenient                 report real I/O outside a step once, instead of failing the run [default with
                            NODE_ENV=production]
  --json                    one JSON object a line, as without a terminal
  --help

Examples:
  midstream worker ./tasks/*.ts
  midstream worker dist/agent.js --idle-timeout 0s --credit 500

Signals:
  SIGTERM, Ctrl-C   take no more runs, suspend or finish those here, then end
  the same again    end at once; other workers take over when the leases run out

Modules in TypeScript are loaded with tsx from your project. MIDSTREAM_API_KEY is the key that the server asks for.
MIDSTREAM_CODE_VERSION names the version of the code; by default it is a hash of the modules.`;

async function main(): Promise<number> {
  if (process.argv[2] === "schema") return schemaCommand(process.argv.slice(3));
  const { env } = process;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: { type: "string", default: env["MIDSTREAM_URL"] || "grpc://127.0.0.1:7733" },
      credit: { type: "string", default: env["MIDSTREAM_CREDIT"] || "100" },
      spares: { type: "string", default: env["MIDSTREAM_SPARES"] || "2" },
      "idle-timeout": { type: "string", default: env["MIDSTREAM_IDLE_TIMEOUT"] || "" },
      "drain-timeout": { type: "string", default: env["MIDSTREAM_DRAIN_TIMEOUT"] || "30s" },
      directory: { type: "string", default: "." },
      "worker-id": { type: "string", default: env["MIDSTREAM_WORKER_ID"] || "" },
      "push-schemas": { type: "boolean", default: isSet(env["MIDSTREAM_PUSH_SCHEMAS"]) },
      lenient: { type: "boolean", default: env["NODE_ENV"] === "production" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const [command, ...files] = positionals;
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (command !== "worker" || files.length === 0) {
    console.error(
      `${HELP}\n\n${command === "worker" ? "name at least one module" : "the command is: midstream worker, or: midstream schema push"}`,
    );
    return 2;
  }
  // A line that cannot be written is lost: when nobody reads the log any more, the runs go on.
  for (const out of [process.stdout, process.stderr]) out.on("error", () => undefined);
  const signals = signalQueue();
  await runWorker({
    modules: files.map((file) => pathToFileURL(resolve(values.directory, file)).href),
    url: values.url,
    apiKey: env["MIDSTREAM_API_KEY"],
    workerId: values["worker-id"],
    credit: count("--credit", values.credit, 1),
    spares: count("--spares", values.spares, 0),
    idleTimeoutMs: values["idle-timeout"] === "" ? undefined : parseDuration(values["idle-timeout"]),
    drainTimeoutMs: parseDuration(values["drain-timeout"]),
    strict: !values.lenient,
    pushSchemas: values["push-schemas"],
    report: reporter(values.json ? "json" : "auto"),
    stopRequested: signals,
  });
  return 0;
}

/** Resolves with each SIGTERM or SIGINT. */
function signalQueue(): () => Promise<void> {
  const waiting: (() => void)[] = [];
  let came = 0;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      const next = waiting.shift();
      if (next === undefined) came += 1;
      else next();
    });
  }
  return () =>
    new Promise((resolve) => {
      if (came > 0) {
        came -= 1;
        resolve();
      } else waiting.push(resolve);
    });
}

function isSet(variable: string | undefined): boolean {
  return ["1", "true", "yes", "on"].includes(variable?.toLowerCase() ?? "");
}

function count(option: string, text: string, least: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= least) return number;
  throw new RangeError(`${option} is a whole number from ${least}, got ${text}`);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  },
);
