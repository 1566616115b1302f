import { defineConfig } from "vite";

export default defineConfig({
  // The client is a link to client_ts, which has a React of its own for its tests.
  resolve: { dedupe: ["react", "react-dom"] },
  // `npx vite` beside a running demo: changes show at once.
  server: { proxy: { "/api": "http://127.0.0.1:8000" } },
  build: {
    rolldownOptions: {
      onLog(level, log, handle) {
        // The client says "use client" for frameworks that render on a server. This page has none.
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") handle(level, log);
      },
    },
  },
});
