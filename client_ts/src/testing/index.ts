export { type FakeError, type FakeServer, fakeServer } from "./fake-server.js";
export { type LocalServer, type LocalServerOptions, localServer } from "./local-server.js";
