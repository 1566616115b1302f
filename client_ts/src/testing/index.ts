export { type FakeError, type FakeServer, fakeServer } from "./fake-server.js";
