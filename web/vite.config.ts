import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const outDir = "../internal/web/dist/app";

// labd serves what is compressed already: it has better things to do.
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    closeBundle() {
      for (const name of readdirSync(outDir, { recursive: true, encoding: "utf8" })) {
        if (!/\.(js|css|html|svg|json)$/.test(name)) continue;
        const file = join(outDir, name);
        const body = readFileSync(file);
        if (body.length < 512) continue;
        writeFileSync(file + ".br", brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: body.length } }));
        writeFileSync(file + ".gz", gzipSync(body, { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), compressed()],
  build: {
    outDir,
    emptyOutDir: true,
    target: "es2022",
    // Nothing inline: the page's policy forbids what it must not need.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
    rollupOptions: {
      // The page, and the page of a terminal that is shared.
      input: ["index.html", "shell.html"],
      output: {
        manualChunks(id) {
          if (!id.includes("node_modules")) return undefined;
          if (/node_modules\/(react|react-dom|scheduler)\//.test(id)) return "react";
          if (/node_modules\/@xterm\//.test(id)) return "terminal";
          return undefined;
        },
      },
    },
  },
  server: {
    // npm run dev shows a labd that runs beside it.
    proxy: Object.fromEntries(
      ["/api", "/conns", "/terminals", "/journals", "/auth", "/exposed", "/t"].map((path) => [
        path,
        { target: process.env["LABD"] ?? "http://127.0.0.1:8484", ws: true },
      ]),
    ),
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
