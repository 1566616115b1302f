import { act, renderHook } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { MidstreamProvider } from "../../src/react/index.js";
import { type MemoryClient, memoryClient } from "./memory-client.js";

/** A hook below a provider, in StrictMode, which mounts everything twice. */
export function renderWithClient<Result, Props>(
  hook: (props: Props) => Result,
  options: { initialProps?: Props; memory?: MemoryClient } = {},
) {
  const memory = options.memory ?? memoryClient();
  const wrapper = ({ children }: { children: ReactNode }) => (
    <StrictMode>
      <MidstreamProvider client={memory.client}>{children}</MidstreamProvider>
    </StrictMode>
  );
  const rendered = renderHook(hook, {
    wrapper,
    ...(options.initialProps === undefined ? {} : { initialProps: options.initialProps }),
  });
  return { memory, ...rendered };
}

/** What an action returned, without waiting for it. */
export function started<T>(action: () => T): T {
  let returned: { value: T } | undefined;
  act(() => {
    returned = { value: action() };
  });
  if (returned === undefined) throw new Error("the action did not run");
  return returned.value;
}

/** Waits, and lets React show what came of it. */
export function answered<T>(promise: Promise<T>): Promise<T> {
  return act(() => promise);
}
