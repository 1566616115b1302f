import { create } from "@bufbuild/protobuf";
import { createBackoff } from "../backoff.js";
import type { Credentials } from "../credentials.js";
import { fromCall } from "../call-error.js";
import { fromStatus, isTransient, MidstreamError } from "../error.js";
import { FollowRequestSchema, type FollowResponse } from "../gen/midstream/v1/stream_service_pb.js";
import { sleep } from "../sleep.js";
import { type Connection, createConnection } from "./connection.js";
import type { FollowSource } from "./source.js";
import type { Target } from "./target.js";

/** The server says something every 15 s: after so long a silence the connection is dead. */
const SILENCE_MS = 40_000;
/** When a page comes back and has heard nothing for so long, its connection is likely to be dead. */
const STALE_MS = 20_000;
const MAX_TARGETS = 100;

/** Ends one thing that is followed. */
export interface Following {
  close(): void;
}

/** All that a client follows, by one subscription. */
export interface Follower {
  readonly connection: Connection;
  follow(target: Target): Following;
  close(): void;
}

/** Why a subscription was cut off by ourselves. */
type Cut = "changed" | "woken" | "silent" | "closed";

/**
 * Keeps one subscription open for as long as there is something to follow. It is opened again, from the positions reached,
 * when the targets have changed, when it breaks, and when it falls silent.
 */
export function createFollower(options: {
  source: FollowSource;
  credentials: Credentials;
  onWake: (woke: () => void) => () => void;
  random?: () => number;
}): Follower {
  const { connection, set } = createConnection();
  const backoff = createBackoff(options.random);
  const targets = new Map<bigint, Target>();
  const refreshed = new Set<bigint>();
  let nextRef = 1n;
  let running = false;
  let changeIsDue = false;
  let lastHeardAt = 0;
  let cut: (why: Cut) => void = () => {};
  let forgetWake: (() => void) | undefined;

  /** In a microtask, so that what one turn follows and stops following is one change. */
  function changed(): void {
    if (changeIsDue) return;
    changeIsDue = true;
    queueMicrotask(() => {
      changeIsDue = false;
      cut("changed");
      if (!running && targets.size > 0) void run();
    });
  }

  function woke(): void {
    if (connection.state !== "open" || Date.now() - lastHeardAt > STALE_MS) cut("woken");
  }

  async function run(): Promise<void> {
    running = true;
    forgetWake = options.onWake(woke);
    set("connecting");
    while (targets.size > 0) await subscribe();
    forgetWake();
    running = false;
    backoff.reset();
    set("idle");
  }

  /** One subscription, until it is over one way or another, with the pause after it. Never rejects. */
  async function subscribe(): Promise<void> {
    const controller = new AbortController();
    let cutBy: Cut | undefined;
    cut = (why) => {
      cutBy ??= why;
      controller.abort();
    };
    let watchdog = setTimeout(cut, SILENCE_MS, "silent");
    const heard = () => {
      lastHeardAt = Date.now();
      clearTimeout(watchdog);
      watchdog = setTimeout(cut, SILENCE_MS, "silent");
    };
    let failure: MidstreamError;
    let secrets = new Map<bigint, string | undefined>();
    try {
      secrets = await collectSecrets();
      if (targets.size === 0) return;
      const request = create(FollowRequestSchema, {
        targets: [...targets].map(([ref, target]) => target.request(ref, secrets.get(ref))),
      });
      const own = [...targets].find(([, target]) => target.credentials === options.credentials);
      const credentials = own ? secrets.get(own[0]) : [...secrets.values()].find((secret) => secret !== undefined);
      const opened = () => set("open");
      if (controller.signal.aborted) throw controller.signal.reason;
      for await (const response of options.source(request, { signal: controller.signal, credentials, opened })) {
        if (cutBy) break;
        if (response.ref === 0n && response.what.case === "error") throw fromStatus(response.what.value);
        heard();
        set("open");
        backoff.reset();
        take(response, secrets);
        if (![...secrets.keys()].some((ref) => targets.has(ref))) return;
      }
      failure = new MidstreamError("the server ended the subscription", { code: "UNAVAILABLE" });
    } catch (error) {
      failure = fromCall(error);
    } finally {
      clearTimeout(watchdog);
      controller.abort(); // leaving a loop does not end the stream by itself
    }
    if (cutBy === "changed" || cutBy === "woken" || cutBy === "closed") return;
    if (cutBy === "silent") failure = new MidstreamError("the server fell silent", { code: "UNAVAILABLE" });
    await recover(failure, secrets);
  }

  /** The credentials of every target. One whose credentials cannot be had for good is told so. */
  async function collectSecrets(): Promise<Map<bigint, string | undefined>> {
    const secrets = new Map<bigint, string | undefined>();
    const asked = new Map<Credentials, Promise<string | undefined>>();
    await Promise.all(
      [...targets].map(async ([ref, { credentials }]) => {
        const answer = asked.get(credentials) ?? credentials.get();
        asked.set(credentials, answer);
        try {
          secrets.set(ref, await answer);
        } catch (error) {
          const problem = fromCall(error);
          if (isTransient(problem)) throw problem;
          fail(ref, problem);
        }
      }),
    );
    return secrets;
  }

  function take({ ref, what }: FollowResponse, secrets: ReadonlyMap<bigint, string | undefined>): void {
    const target = targets.get(ref);
    if (!target) return;
    switch (what.case) {
      case "records":
        refreshed.delete(ref);
        tell(() => target.takeRecords(what.value));
        break;
      case "run":
        refreshed.delete(ref);
        tell(() => target.takeRun(what.value));
        break;
      case "ended":
        forget(ref);
        tell(() => target.listener.onEnd?.());
        break;
      case "error":
        if (refuse(ref, target, fromStatus(what.value), secrets)) changed();
        break;
    }
  }

  /** The server is done with one target; the others go on. True: to be asked for again, with fresh credentials. */
  function refuse(
    ref: bigint,
    target: Target,
    error: MidstreamError,
    secrets: ReadonlyMap<bigint, string | undefined>,
  ): boolean {
    if (error.reason === "TOKEN_EXPIRED" && !refreshed.has(ref) && target.credentials.discard(secrets.get(ref))) {
      refreshed.add(ref); // a fresh token that has expired, too, is no accident
      return true;
    }
    if (isTransient(error)) setTimeout(() => targets.has(ref) && changed(), backoff.delayMs(error));
    else fail(ref, error);
    return false;
  }

  /** The whole subscription has failed: pauses before the next one, or gives all targets up. */
  async function recover(failure: MidstreamError, secrets: ReadonlyMap<bigint, string | undefined>): Promise<void> {
    if (failure.reason === "TOKEN_EXPIRED") {
      for (const [ref, target] of [...targets]) refuse(ref, target, failure, secrets);
      return;
    }
    const delayMs = backoff.delayMs(failure);
    if (delayMs === undefined) {
      for (const ref of [...targets.keys()]) fail(ref, failure);
      return;
    }
    set("retrying");
    const pause = new AbortController();
    cut = () => pause.abort();
    await sleep(delayMs, pause.signal).catch(() => {});
  }

  function forget(ref: bigint): void {
    targets.delete(ref);
    refreshed.delete(ref);
  }

  function fail(ref: bigint, error: MidstreamError): void {
    const target = targets.get(ref);
    forget(ref);
    tell(() => target?.listener.onError?.(error));
  }

  return {
    connection,
    follow(target) {
      const ref = nextRef;
      nextRef += 1n;
      if (targets.size >= MAX_TARGETS) {
        const message = `one client follows at most ${MAX_TARGETS} things at a time`;
        const error = new MidstreamError(message, { code: "RESOURCE_EXHAUSTED" });
        queueMicrotask(() => tell(() => target.listener.onError?.(error)));
        return { close() {} };
      }
      targets.set(ref, target);
      changed();
      return {
        close() {
          if (!targets.has(ref)) return;
          forget(ref);
          changed();
        },
      };
    },
    close() {
      targets.clear();
      cut("closed");
    },
  };
}

/** A listener that throws is the page's own trouble, and reported as such: the others must hear what is theirs. */
function tell(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
