/** A signal that is aborted when one of several is; `done` lets go of them. (AbortSignal.any is too new.) */
export function anySignal(signals: readonly (AbortSignal | undefined)[]): {
  signal: AbortSignal;
  abort: (reason?: unknown) => void;
  done: () => void;
} {
  const controller = new AbortController();
  const links: [AbortSignal, () => void][] = [];
  const done = () => {
    for (const [signal, link] of links.splice(0)) signal.removeEventListener("abort", link);
  };
  const abort = (reason?: unknown) => {
    done();
    controller.abort(reason);
  };
  for (const signal of signals) {
    if (!signal) continue;
    if (signal.aborted) {
      abort(signal.reason);
      break;
    }
    const link = () => abort(signal.reason);
    links.push([signal, link]);
    signal.addEventListener("abort", link, { once: true });
  }
  return { signal: controller.signal, abort, done };
}
