import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Codec } from "../codec.js";
import { encodePayload } from "../payload.js";
import { type Misfit, RecordInvalid } from "../record-invalid.js";

/** Values travel as JSON, and are validated where they are received: the server has checked those that are sent. */
export function standardCodec<S extends StandardSchemaV1>(
  schema: S,
): Codec<StandardSchemaV1.InferOutput<S>, StandardSchemaV1.InferInput<S>> {
  return {
    encode: encodePayload,
    read(record) {
      const result = schema["~standard"].validate(record.value);
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new TypeError(
          `stream "${record.streamId}": its schema validates asynchronously, which no receive can wait for`,
        );
      }
      if (result.issues) throw new RecordInvalid(record, misfitOf(result.issues));
      return { ...record, value: result.value };
    },
  };
}

function misfitOf(issues: readonly StandardSchemaV1.Issue[]): Misfit {
  const fields: Record<string, string> = {};
  for (const { path, message } of issues) {
    const name = nameOf(path ?? []);
    fields[name] = name in fields ? `${fields[name]}; ${message}` : message;
  }
  const said = Object.entries(fields).map(([name, problem]) => (name === "" ? problem : `${name}: ${problem}`));
  return { message: `the value does not fit: ${said.join("; ")}`, fields };
}

/** As the server names fields: `items[2].price`, `tags["a b"]`; "" is the whole value. */
function nameOf(path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  let name = "";
  for (const segment of path) {
    const key = typeof segment === "object" ? segment.key : segment;
    if (typeof key === "number") name += `[${key}]`;
    else if (/^[A-Za-z_]\w*$/.test(String(key))) name += name === "" ? String(key) : `.${String(key)}`;
    else name += `[${JSON.stringify(String(key))}]`;
  }
  return name;
}
