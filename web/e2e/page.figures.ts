// The figures of docs/web.md, by make bench-page: each is measured by the page's
// own clock, several times, and said with the machine's load.
import { readFileSync } from "node:fs";
import { desk, shell, terminal } from "./desk";
import { growth } from "./memory";
import { as, control, expect, small, test, told, until } from "./story";

test.describe.configure({ timeout: 400_000 });

const say = (what: string, values: number[], unit: string) => {
  const sorted = [...values].sort((a, b) => a - b);
  const load = readFileSync("/proc/loadavg", "utf8").split(" ")[0];
  console.log(`figure: ${what}: median ${Math.round(sorted[sorted.length >> 1]!)} ${unit}, worst ${Math.round(sorted.at(-1)!)} of ${sorted.length} (load ${load})`);
};

test("first contentful paint of the catalog from a cold cache", async ({ browser }) => {
  const took = [];
  for (let i = 0; i < 5; i++) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(told.single + "/");
    await expect(page.getByRole("heading", { name: "What do you want to try?" })).toBeVisible();
    took.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]!.startTime));
    await context.close();
  }
  say("first contentful paint of the catalog", took, "ms");
});

test("from the press on start to the first line of progress", async ({ page }) => {
  const name = await small("figures", "For figures");
  await as(page, "boss");
  const took = [];
  for (let i = 0; i < 5; i++) {
    await page.goto(`${told.url}/playgrounds/${name}`);
    await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
    await page.waitForLoadState("networkidle");
    took.push(await until(page, 'button[type="submit"]', '//ol[@aria-label="Steps of only"]/li'));
    await control("people/labctl", "playground", "destroy", page.url().split("/").at(-1)!);
  }
  say("start, until the first line of progress", took, "ms");
});

test("terminals: opened until the prompt, and floods", async ({ page }) => {
  const play = await desk(page);
  const one = await terminal(page, "One");
  const took = [];
  for (let i = 2; i < 9; i++) {
    await page.getByRole("button", { name: "New terminal" }).first().click();
    await page.getByRole("menuitem", { name: "two", exact: true }).waitFor();
    const name = i === 2 ? "two" : `two ${i - 1}`;
    took.push(await until(page, '[role="menuitem"]:nth-of-type(3)', `//*[@role="region"][@aria-label="Terminal ${name}"]//*[contains(@class,"xterm-rows")][contains(., "#")]`));
    await page.keyboard.press("Escape");
  }
  say("terminal opened, until the prompt", took, "ms");

  await page.getByRole("tab", { name: "One", exact: true }).click();
  await shell(play, "one", "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c 50000000 > /tmp/big");
  let began = Date.now();
  const grown = await growth(page, async (look) => {
    await one.type("cat /tmp/big; echo shown-$((40 + 2))");
    await expect.poll(async () => (await look(), one.rows.textContent()), { timeout: 300_000, intervals: [250] }).toContain("shown-42");
  });
  say("50 MB in a terminal, memory of labd, more at most", [grown.labd], "MiB");
  say("50 MB in a terminal, memory of the page, more at most", [grown.page], "MiB");
  say("50 MB in a terminal, memory of the page, more when its garbage is collected", [grown.held], "MiB");
  say("50 MB in a terminal", [(Date.now() - began) / 1000], "s");

  // How long the page does not paint while 100 MB come.
  await page.evaluate(() => {
    const w = window as unknown as { gaps: number[]; watch: boolean };
    w.gaps = [];
    w.watch = true;
    let last = performance.now();
    const frame = () => {
      const now = performance.now();
      w.gaps.push(now - last);
      last = now;
      if (w.watch) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  began = Date.now();
  await one.type("clear; cat /tmp/big /tmp/big; echo shown-$((40 + 3))");
  await expect.poll(() => one.rows.textContent(), { timeout: 350_000, intervals: [1000] }).toContain("shown-43");
  const gaps = await page.evaluate(() => {
    const w = window as unknown as { gaps: number[]; watch: boolean };
    w.watch = false;
    return w.gaps;
  });
  const sorted = gaps.sort((a, b) => a - b);
  say("100 MB in a terminal, between two paints", sorted, "ms");
  say("100 MB in a terminal, between two paints, 99 of 100", [sorted[Math.floor(sorted.length * 0.99)]!], "ms");
  say("100 MB in a terminal", [(Date.now() - began) / 1000], "s");
});
