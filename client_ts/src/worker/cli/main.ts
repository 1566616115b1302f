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

Executes the tasks that these modules export, until SIGTERM or SIGINT: the first drains, a second one stops at once.
Modules in TypeScript need tsx in your project.

Options:
  --url URL                 the server [MIDSTREAM_URL; default: grpc://127.0.0.1:7733]
  --credit N                how many runs at once [default: 100]
  --spares N                warm threads kept ready [default: 2]
  --idle-timeout DURATION   how long a run that only waits keeps its thread; "0s": not at all [default: 5s]
  --drain-timeout DURATION  how long runs have to come to rest when the worker stops [default: 30s]
  --worker-id ID            a name that no other living worker has [default: a random one]
  --log-format FORMAT       auto, console or json [default: auto]
  --push-schemas            first register the types of the streams that the modules declare, for everybody who sends to
                            them [MIDSTREAM_PUSH_SCHEMAS]
  --lenient                 report real I/O outside a step once, instead of failing the run [NODE_ENV=production]
  --help

Environment: MIDSTREAM_URL, MIDSTREAM_API_KEY, MIDSTREAM_CODE_VERSION (default: a hash of the modules).`;

const FORMATS = ["auto", "console", "json"] as const;

async function main(): Promise<number> {
  if (process.argv[2] === "schema") return schemaCommand(process.argv.slice(3));
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: { type: "string" },
      credit: { type: "string", default: "100" },
      spares: { type: "string", default: "2" },
      "idle-timeout": { type: "string", default: "5s" },
      "drain-timeout": { type: "string", default: "30s" },
      "worker-id": { type: "string" },
      "log-format": { type: "string", default: "auto" },
      "push-schemas": { type: "boolean", default: isSet(process.env["MIDSTREAM_PUSH_SCHEMAS"]) },
      lenient: { type: "boolean", default: process.env["NODE_ENV"] === "production" },
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
  const format = FORMATS.find((each) => each === values["log-format"]);
  if (format === undefined) throw new TypeError(`--log-format is one of ${FORMATS.join(", ")}`);
  const signals = signalQueue();
  await runWorker({
    modules: files.map((file) => pathToFileURL(resolve(file)).href),
    url: values.url ?? process.env["MIDSTREAM_URL"] ?? "grpc://127.0.0.1:7733",
    apiKey: process.env["MIDSTREAM_API_KEY"],
    workerId: values["worker-id"],
    credit: count("--credit", values.credit),
    spares: count("--spares", values.spares),
    idleTimeoutMs: parseDuration(values["idle-timeout"]),
    drainTimeoutMs: parseDuration(values["drain-timeout"]),
    strict: !values.lenient,
    pushSchemas: values["push-schemas"],
    report: reporter(format),
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

function count(option: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) throw new RangeError(`${option} is a whole number from 0, got ${text}`);
  return number;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  },
);
