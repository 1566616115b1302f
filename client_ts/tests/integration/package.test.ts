import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const index = path.join(root, "dist/index.js");

/** What a page downloads that has this code, in bytes after gzip, and which files it came from. */
async function bundle(code: string) {
  const result = await build({
    stdin: { contents: code, resolveDir: root },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
    metafile: true,
  });
  const contents = result.outputFiles[0]?.contents ?? new Uint8Array();
  const [output] = Object.values(result.metafile.outputs);
  const files = Object.entries(output?.inputs ?? {}).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return { gzipped: gzipSync(contents, { level: 9 }).length, files: files.map(([file]) => file) };
}

/** A page that uses all of these. */
function using(names: readonly string[]): string {
  return `import { ${names.join(", ")} } from ${JSON.stringify(index)}; globalThis.midstream = [${names.join(", ")}];`;
}

const NOT_FOR_PAGES =
  /connect-node|platform\/node|attached|sign-token|dist\/worker|dist\/schemas|schema_service|protovalidate/;

it("the browser entry stays under 40 kB gzipped, generated code and all, and has nothing of Node in it", async () => {
  const all = Object.keys((await import(index)) as object);
  expect(all).toContain("inputStream");
  const { gzipped, files } = await bundle(using(all.filter((name) => name !== "inputStream")));
  expect(gzipped).toBeLessThan(40_000);
  expect(files.filter((file) => NOT_FOR_PAGES.test(file))).toEqual([]);
  expect(files.filter((file) => file.includes("dist/declared"))).toEqual([]);
});

it("types at run time come along only where they are used, and take less than 10 kB", async () => {
  const all = Object.keys((await import(index)) as object);
  const { gzipped, files } = await bundle(using(all));
  expect(gzipped).toBeLessThan(50_000);
  expect(files.filter((file) => NOT_FOR_PAGES.test(file))).toEqual([]);
});

it("importing only `streams` brings in next to nothing", async () => {
  const { gzipped } = await bundle(
    `import { streams } from ${JSON.stringify(index)}; globalThis.s = streams.input({ id: "a" });`,
  );
  expect(gzipped).toBeLessThan(2_000);
});

it("the packed package is what its exports say (publint, attw)", () => {
  const directory = mkdtempSync(path.join(tmpdir(), "midstream-pack-"));
  try {
    const run = (command: string, ...args: string[]) =>
      execFileSync(command, args, { cwd: root, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
    const packed = run("npm", "pack", "--silent", "--pack-destination", directory).trim().split("\n").at(-1) ?? "";
    const tarball = path.join(directory, packed);
    run("node_modules/.bin/attw", tarball, "--profile", "esm-only", "--format", "ascii");
    expect(run("node_modules/.bin/publint", tarball, "--strict")).toContain("All good");
  } finally {
    rmSync(directory, { recursive: true });
  }
});
