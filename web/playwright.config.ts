import { defineConfig } from "@playwright/test";
import { told } from "./e2e/told";

export default defineConfig({
  testDir: "e2e",
  // Figures are measured by make bench-page: nothing is asserted about time.
  testMatch: process.env["LAB_FIGURES"] ? "*.figures.ts" : "*.spec.ts",
  outputDir: told.out + "/results",
  reporter: [["list"]],
  workers: 1,
  // One story of a hundred once waited for a browser that did nothing. Who needs a
  // second try is named in the log as flaky.
  retries: 1,
  forbidOnly: true,
  // Machines are emulated, and the host may be busy with much else: these say when
  // to give up, and nothing about how long anything may take.
  timeout: 300_000,
  expect: { timeout: 30_000 },
  use: {
    browserName: "chromium",
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    timezoneId: "UTC",
    actionTimeout: 30_000,
    navigationTimeout: 60_000,
    trace: "off",
    launchOptions: {
      executablePath: "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion"],
    },
  },
});
