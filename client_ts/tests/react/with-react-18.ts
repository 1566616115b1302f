// Vite's aliases reach our own files. This reaches the packages that they import, such as @testing-library/react.
import Module from "node:module";

type Resolve = (request: string, ...rest: unknown[]) => string;
const resolver = Module as unknown as { _resolveFilename: Resolve };
const original = resolver._resolveFilename;

resolver._resolveFilename = function resolve(this: unknown, request, ...rest) {
  return original.call(this, request.replace(/^(react|react-dom)(?=\/|$)/, "$1-18"), ...rest);
};
