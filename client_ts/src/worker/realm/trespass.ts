/** Notices real I/O in a task outside its steps, which no replay could repeat. */

import { createHook } from "node:async_hooks";
import { UnjournaledAwait } from "../engine/errors.js";
import { currentScope } from "../engine/scope.js";

/** Node's names for what waits for the world, and ours. */
const IO: Readonly<Record<string, string>> = {
  CHECKPRIMEREQUEST: "a computation of node:crypto",
  CIPHERREQUEST: "a computation of node:crypto",
  DERIVEBITSREQUEST: "a computation of node:crypto",
  DNSCHANNEL: "a name lookup",
  FSEVENTWRAP: "watching a file",
  FSREQCALLBACK: "a file",
  FSREQPROMISE: "a file",
  GETADDRINFOREQWRAP: "a name lookup",
  GETNAMEINFOREQWRAP: "a name lookup",
  HASHREQUEST: "a computation of node:crypto",
  HTTPCLIENTREQUEST: "an HTTP request",
  HTTPINCOMINGMESSAGE: "an HTTP server",
  KEYGENREQUEST: "a computation of node:crypto",
  PBKDF2REQUEST: "a computation of node:crypto",
  PIPECONNECTWRAP: "a connection",
  PROCESSWRAP: "a child process",
  QUERYWRAP: "a name lookup",
  RANDOMBYTESREQUEST: "random bytes of node:crypto",
  RANDOMPRIMEREQUEST: "random numbers of node:crypto",
  SCRYPTREQUEST: "a computation of node:crypto",
  SIGNREQUEST: "a computation of node:crypto",
  STATWATCHER: "watching a file",
  TCPCONNECTWRAP: "a connection",
  TCPSERVERWRAP: "a server",
  TLSWRAP: "a connection",
  UDPSENDWRAP: "a datagram",
  WORKER: "a worker thread",
  ZLIB: "compression by node:zlib",
};

export interface TrespassOptions {
  /** The run fails at the end of the turn. Otherwise each kind is reported, by each thread once. */
  readonly fails: boolean;
  readonly report: (runId: string, error: UnjournaledAwait) => void;
}

let watching = false;

/** Once for each thread or process that executes tasks. */
export function watchForTrespass({ fails, report }: TrespassOptions): void {
  if (watching) return;
  watching = true;
  const reported = new Set<string>();
  createHook({
    init(_id, type) {
      const what = IO[type];
      if (what === undefined) return;
      const scope = currentScope();
      if (scope === undefined || scope.step !== undefined) return;
      // Thrown here, it would end the process: hooks must not throw.
      const error = new UnjournaledAwait(what);
      if (fails) scope.execution.trespassed(error);
      else if (!reported.has(type)) {
        reported.add(type);
        report(scope.execution.runId, error);
      }
    },
  }).enable();
}
