import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, it } from "vitest";

const here = fileURLToPath(new URL(".", import.meta.url));
const file = path.join(here, "wrong-shapes.ts");
const text = readFileSync(file, "utf8");
const configFile = path.join(here, "../tsconfig.json");
const config = ts.getParsedCommandLineOfConfigFile(
  configFile,
  {},
  { ...ts.sys, onUnRecoverableConfigFileDiagnostic() {} },
);

const options = { ...config?.options, noEmit: true };
const parsed = new Map<string, ts.SourceFile | undefined>();

/** The lines with an error, when the file has this text. */
function errorLines(changed: string): number[] {
  const host = ts.createCompilerHost(options);
  const parse = host.getSourceFile.bind(host);
  host.getSourceFile = (name, language, ...rest) => {
    if (path.resolve(name) === file) return ts.createSourceFile(name, changed, language, true);
    if (!parsed.has(name)) parsed.set(name, parse(name, language, ...rest));
    return parsed.get(name);
  };
  const program = ts.createProgram([file], options, host);
  const source = program.getSourceFile(file);
  return program
    .getSemanticDiagnostics(source)
    .map(({ start = 0 }) => (source?.getLineAndCharacterOfPosition(start).line ?? -2) + 1);
}

const lines = text.split("\n");
const expected = lines.flatMap((line, index) => (line.trim().startsWith("// @ts-expect-error") ? [index + 1] : []));

// A compiler takes its time on a busy machine.
const PATIENCE_MS = 300_000;

it("each wrong shape fails to compile, and nothing else", { timeout: PATIENCE_MS }, () => {
  const unmasked = text.replaceAll("// @ts-expect-error", "// an error follows:");
  expect(errorLines(unmasked)).toEqual(expected.map((line) => line + 1));
});

it("the proofs fail where the types are lost", { timeout: PATIENCE_MS }, () => {
  const any = 'import("../../src/index.js").InputStream<any, any>';
  const loosened = text
    .replace(
      /^import \{ note, .*$/m,
      `declare const note: ${any}, order: ${any}, userMessage: ${any}, verdict: ${any};`,
    )
    .replace(/^import \{ inputStream .*$/m, "declare const inputStream: any;");
  // What is unused now is the directive itself.
  expect(errorLines(loosened)).toEqual(expected);
});
