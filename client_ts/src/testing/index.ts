export { type FakeError, type FakeServer, fakeServer } from "./fake-server.js";
export { type InProcessWorker, type InProcessWorkerOptions, inProcessWorker } from "./in-process-worker.js";
export { type LocalServer, type LocalServerOptions, localServer } from "./local-server.js";
export type { ManualClock } from "./manual-clock.js";
