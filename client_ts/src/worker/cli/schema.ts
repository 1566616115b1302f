/** `midstream schema push FILE...`: registers what may be sent on which stream. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { connect } from "../../client.js";
import { collectDeclared } from "../../declared/announce.js";
import { MidstreamError } from "../../error.js";
import { joined, type RegisteredSchema } from "../../schemas/schemas.js";
import { importAll } from "../pool/load-tasks.js";

const HELP = `Usage: midstream schema push [options] FILE...

Registers what may be sent on which stream, all of it or nothing: the server then refuses what does not fit.

FILE is a module, for all streams that it or what it imports declares with inputStream(), or a descriptor set, for all
messages in it with the option (midstream.v1.input_stream), as "buf build -o FILE" and
"protoc --include_imports --descriptor_set_out=FILE" write one. Modules in TypeScript need tsx in your project.

Options:
  --url URL    the server [MIDSTREAM_URL; default: grpc://127.0.0.1:7733]
  --force      register what breaks stored records or other programs, too
  --dry-run    check everything, register nothing
  --json       one line of JSON for each stream
  --help

Environment: MIDSTREAM_URL, MIDSTREAM_API_KEY.`;

const MODULE = /\.[cm]?[jt]sx?$/;

export async function schemaCommand(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      url: { type: "string" },
      force: { type: "boolean", default: false },
      "dry-run": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const [command, ...files] = positionals;
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (command !== "push" || files.length === 0) {
    console.error(
      `${HELP}\n\n${command === "push" ? "name at least one file" : "the command is: midstream schema push"}`,
    );
    return 2;
  }
  const modules = files.filter((file) => MODULE.test(file)).map((file) => pathToFileURL(resolve(file)).href);
  const streams = await collectDeclared(() => importAll(modules));
  if (modules.length > 0 && streams.length === 0) {
    console.error(
      "these modules declare no stream with a type: inputStream(UserMessageSchema), inputStream({ id, schema })",
    );
    return 2;
  }
  const fileDescriptorSet = joined(...files.filter((file) => !MODULE.test(file)).map((file) => readFileSync(file)));
  const client = connect({ url: values.url, apiKey: process.env["MIDSTREAM_API_KEY"] });
  try {
    const validateOnly = values["dry-run"];
    const registered = await client.schemas.register({ streams, fileDescriptorSet, force: values.force, validateOnly });
    for (const each of registered) console.log(values.json ? JSON.stringify(shape(each)) : line(each, validateOnly));
    return 0;
  } catch (error) {
    if (!(error instanceof MidstreamError)) throw error;
    console.error(`${error.reason || error.code}: ${error.message}`);
    for (const [field, problem] of Object.entries(error.fields))
      console.error(`  ${field || "the whole of it"}: ${problem}`);
    if (error.reason === "SCHEMA_INCOMPATIBLE") {
      console.error(
        "Keep what is there and add to it, declare another stream, or register it nonetheless with --force.",
      );
    }
    return 1;
  } finally {
    client.close();
  }
}

function line({ schema, created, warnings }: RegisteredSchema, dryRun: boolean): string {
  const { streamId, version, typeName = "JSON Schema" } = schema;
  const state = !created ? "is there already" : dryRun ? "would be registered" : "is registered";
  return [`${streamId}  version ${version} ${state}: ${typeName}`, ...warnings].join("\n  ");
}

function shape({ schema, created, warnings }: RegisteredSchema) {
  const { streamId, version, typeName } = schema;
  return { stream_id: streamId, version, type_name: typeName ?? null, created, warnings };
}
