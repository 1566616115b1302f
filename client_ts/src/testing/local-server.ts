import type { ChildProcess } from "node:child_process";
import { type Duration, parseDuration } from "../duration.js";
import { ManualClock } from "./manual-clock.js";

/** A server in a process of its own, on free ports and a database of its own. */
export interface LocalServer {
  /** For gRPC: `grpc://127.0.0.1:...`. */
  readonly url: string;
  /** For browsers, and for Connect. */
  readonly webUrl: string;
  /** The server's clock where it is a manual one. */
  readonly clock: ManualClock | undefined;
  /**
   * Lets time pass, in no time: deadlines, timeouts, expiry and retention. When it resolves, the server has dealt with
   * every timer that came due. Throws where the clock is the machine's.
   */
  advance(duration: Duration): Promise<void>;
  /** Ends it as a crash would, and starts it again on the same ports and database. */
  restart(): Promise<void>;
  /** Ends it, and deletes its database. */
  stop(): Promise<void>;
}

/** How to start it. */
export interface LocalServerOptions {
  /** The command and its first arguments. Unset: MIDSTREAM_SERVER, a command line; else `midstream-server` on the path. */
  command?: readonly string[] | undefined;
  /** `"manual"`: its time stands still until `advance` moves it. Unset: the machine's. */
  clock?: "manual" | "system" | undefined;
  /** Where its database is to be; unset: in a folder that `stop` deletes. */
  database?: string | undefined;
  /** More arguments, such as `["--web-origins", "http://localhost:5173"]`. */
  args?: readonly string[] | undefined;
  env?: Readonly<Record<string, string>> | undefined;
}

const START_TIMEOUT_MS = 30_000;

/** Starts a server for a test; resolves when it serves. Needs `midstream-server` (PyPI) to be installed. Node only. */
export async function localServer(options: LocalServerOptions = {}): Promise<LocalServer> {
  const { mkdtemp, rm } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const path = await import("node:path");
  const directory = await mkdtemp(path.join(tmpdir(), "midstream-"));
  const removeDirectory = () => rm(directory, { recursive: true, force: true });
  const command = options.command ?? process.env["MIDSTREAM_SERVER"]?.split(/\s+/) ?? ["midstream-server"];
  let listen = "127.0.0.1:0";
  let webListen = "127.0.0.1:0";

  const clock = options.clock === "manual" ? new ManualClock() : undefined;
  let advancedUs = 0;

  async function start(): Promise<Started> {
    const args = [
      ...(clock === undefined ? [] : ["testing"]),
      "--listen",
      listen,
      "--web-listen",
      webListen,
      "--metrics-listen",
      "",
    ];
    args.push(
      "--database",
      options.database ?? path.join(directory, "midstream.db"),
      "--log-format",
      "json",
      ...(options.args ?? []),
    );
    const started = await launch([...command, ...args], options.env ?? {});
    listen = started.url.replace("grpc://", "");
    webListen = started.webUrl.replace("http://", "");
    if (advancedUs > 0) await started.advance(advancedUs);
    return started;
  }

  let running: Started;
  try {
    running = await start();
  } catch (error) {
    await removeDirectory();
    throw error;
  }
  return {
    url: running.url,
    webUrl: running.webUrl,
    clock,
    async advance(duration) {
      if (clock === undefined)
        throw new Error('only a server with a clock of its own can be advanced: clock: "manual"');
      const us = parseDuration(duration) * 1_000;
      await running.advance(us);
      advancedUs += us;
      clock.advance(us);
    },
    async restart() {
      await kill(running.child);
      running = await start();
    },
    async stop() {
      await kill(running.child);
      await removeDirectory();
    },
  };
}

interface Started {
  readonly url: string;
  readonly webUrl: string;
  readonly child: ChildProcess;
  /** By so many microseconds. */
  advance(us: number): Promise<void>;
}

async function launch([program = "", ...args]: readonly string[], env: Readonly<Record<string, string>>) {
  const { spawn } = await import("node:child_process");
  const { createInterface } = await import("node:readline");
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "pipe"] });
  let printed = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    printed = (printed + text).slice(-10_000);
  });
  return new Promise<Started>((resolve, reject) => {
    const fail = (problem: string, cause?: unknown) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      const message = `${program} ${problem}; install midstream-server, or name it in MIDSTREAM_SERVER\n${printed}`;
      reject(new Error(message.trim(), { cause }));
    };
    const timer = setTimeout(() => fail(`did not serve within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    child.once("error", (error) => fail("could not be started", error));
    const early = (code: number | null): void => fail(`ended with ${String(code)} before it served`);
    child.once("exit", early);
    let waiting: [done: () => void, failed: (error: Error) => void][] = [];
    child.stdin.on("error", () => {}); // it has ended, which is told below
    const advance = (us: number): Promise<void> =>
      new Promise((done, failed) => {
        waiting.push([done, failed]);
        child.stdin.write(`${us}\n`);
      });
    child.once("exit", () => {
      for (const [, failed] of waiting) failed(new Error(`${program} has ended`));
      waiting = [];
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const event = parsed(line);
      if (event?.event === "advanced") waiting.shift()?.[0]();
      if (event?.event !== "server_started") {
        printed = `${printed}${line}\n`.slice(-10_000);
        return;
      }
      clearTimeout(timer);
      child.off("exit", early);
      resolve({ url: event.url, webUrl: event.web_url, child, advance });
    });
  });
}

function kill(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve();
      return;
    }
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

function parsed(line: string): { event: string; url: string; web_url: string } | undefined {
  try {
    return JSON.parse(line) as { event: string; url: string; web_url: string };
  } catch {
    return undefined;
  }
}
