// What something costs in memory.
import type { Browser } from "@playwright/test";
import { readFileSync } from "node:fs";
import { type Page, control } from "./story";

/** KiB that the browser's pages have for themselves, by process. */
async function pages(browser: Browser): Promise<Map<number, number>> {
  const cdp = await browser.newBrowserCDPSession();
  const { processInfo } = (await cdp.send("SystemInfo.getProcessInfo")) as { processInfo: { type: string; id: number }[] };
  await cdp.detach();
  const own = (pid: number) => {
    try {
      return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
    } catch {
      return 0; // it has ended
    }
  };
  return new Map(processInfo.filter((p) => p.type === "renderer").map((p) => [p.id, own(p.id)]));
}

/** MiB more than before: of labd, of the page at most, and of the page once its garbage is collected. */
export type Growth = { labd: number; page: number; held: number };

/**
 * What labd and the page have more at most while something is done than before;
 * it calls look again and again, by which the page's are sampled.
 */
export async function growth(page: Page, done: (look: () => Promise<void>) => Promise<void>): Promise<Growth> {
  const browser = page.context().browser()!;
  const devtools = await page.context().newCDPSession(page);
  const kib = async () => JSON.parse(await control("people/memory")) as { now: number; most: number };
  const labd = (await kib()).now; // the most is counted from here
  const before = await pages(browser);
  const more = async () => Math.max(0, ...[...(await pages(browser))].filter(([pid]) => before.has(pid)).map(([pid, has]) => has - before.get(pid)!));
  let most = 0;
  await done(async () => {
    most = Math.max(most, await more());
  });
  const mib = (n: number) => Math.ceil(n / 1024);
  const grown = { labd: mib((await kib()).most - labd), page: mib(most) };
  await devtools.send("HeapProfiler.collectGarbage");
  const held = mib(await more());
  await devtools.detach();
  return { ...grown, held };
}
