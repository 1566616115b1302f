import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const platform = { "#platform": here("src/platform/node.ts") };
const shared = { testTimeout: 60_000, restoreMocks: true };
const hooks = { ...shared, environment: "jsdom", include: ["tests/react/**/*.test.{ts,tsx}"] };

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias: platform },
        test: {
          ...shared,
          name: "node",
          include: ["tests/**/*.test.{ts,tsx}", "src/**/*.test.{ts,tsx}"],
          exclude: ["tests/react/**"],
        },
      },
      { resolve: { alias: platform }, test: { ...hooks, name: "react-19" } },
      {
        resolve: { alias: { ...platform, react: "react-18", "react-dom": "react-dom-18" } },
        test: { ...hooks, name: "react-18", setupFiles: [here("tests/react/with-react-18.ts")] },
      },
    ],
  },
});
