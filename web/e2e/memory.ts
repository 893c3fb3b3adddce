// What something costs in memory.
import type { Browser } from "@playwright/test";
import { readFileSync } from "node:fs";
import { control } from "./story";

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

/**
 * MiB that labd and the page have more at most while something is done than
 * before; it calls look again and again, by which the page's are sampled.
 */
export async function growth(browser: Browser, done: (look: () => Promise<void>) => Promise<void>): Promise<{ labd: number; page: number }> {
  const kib = async () => JSON.parse(await control("people/memory")) as { now: number; most: number };
  const labd = (await kib()).now; // the most is counted from here
  const before = await pages(browser);
  let page = 0;
  await done(async () => {
    for (const [pid, has] of await pages(browser)) if (before.has(pid)) page = Math.max(page, has - before.get(pid)!);
  });
  return { labd: Math.ceil(((await kib()).most - labd) / 1024), page: Math.ceil(page / 1024) };
}
