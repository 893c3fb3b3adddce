// What all stories share. Every page that is opened in a story is watched: it
// asks nothing of any other server, breaks no rule of its policy and logs no
// error.
import { type Browser, type Page, type Request, expect, test as base } from "@playwright/test";
import { mkdirSync, writeFileSync } from "node:fs";
import { told } from "./told";

export { expect, told };
export type { Page };

export const password = "a long enough one";

/** Messages of the console that a story provokes on purpose. */
type Watched = { allowed: RegExp[] };

export const test = base.extend<{ watched: Watched; page: Page }>({
  watched: async ({}, use) => use({ allowed: [] }),
  page: async ({ page, watched }, use, story) => {
    const wrong: string[] = [];
    const asked = new Set<Request>();
    page.on("request", (r) => asked.add(r));
    page.on("requestfinished", (r) => asked.delete(r));
    page.on("requestfailed", (r) => asked.delete(r));
    const own = [told.url, told.single].map((u) => new URL(u).host);
    page.on("request", (r) => {
      const url = new URL(r.url());
      const frame = url.hostname.endsWith(".localhost");
      if (url.protocol.startsWith("http") && !own.includes(url.host) && !frame && !r.isNavigationRequest()) wrong.push(`asked ${r.url()}`);
    });
    // A refusal is said by the page; the browser's own line of it is no error of ours. A
    // play may go, or a labd restart, in the middle of any connection to it.
    page.on("console", (m) => {
      if (m.type() === "error" && !/^(Failed to load resource|WebSocket connection to .* failed)/.test(m.text()) && !watched.allowed.some((a) => a.test(m.text()))) wrong.push(`console: ${m.text()}`);
    });
    page.on("pageerror", (e) => wrong.push(`thrown: ${e.message}`));
    if (late > 0) await delay(page);
    await use(page);
    // Who did not answer: labd, or a browser that did not even ask?
    if (story.status !== story.expectedStatus) console.log(`asked, and not answered: ${[...asked].map((r) => r.url()).join(" ") || "nothing"}`);
    expect(wrong).toEqual([]);
  },
});

// Up to how many milliseconds replies, and news of plays and jobs, are late on
// purpose: each comes before and after the other then.
const late = Number(process.env["LAB_PAGE_LATE"] ?? 0);

async function delay(page: Page) {
  const some = () => new Promise((resolve) => setTimeout(resolve, Math.random() * late));
  await page.route("**/api/**", async (route) => {
    // Playwright's replies know nothing of origins: an application's frame gets its own.
    if (route.request().isNavigationRequest() || route.request().frame() !== page.mainFrame()) return route.fallback();
    try {
      const response = await route.fetch({ maxRedirects: 0 });
      await some();
      await route.fulfill({ response });
    } catch {
      await route.abort().catch(() => {}); // labd, or the page, is gone
    }
  });
  await page.routeWebSocket(/\/conns\//, (ws) => {
    let before: Promise<unknown> = Promise.resolve();
    ws.connectToServer().onMessage((message) => {
      before = before.then(some).then(() => ws.send(message), () => {});
    });
  });
}

/** Runs labctl, labd or starts and stops a labd: test/page_test.go's control. */
export async function control(what: string, ...args: string[]): Promise<string> {
  const reply = await fetch(`${told.control}/${what}`, { method: "POST", body: JSON.stringify(args) });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${what} ${args.join(" ")}: ${text}`);
  return text.trim();
}

/** Makes the administrator a playground of one small machine, and names it. */
export async function small(name: string, title: string): Promise<string> {
  const file = `${told.out}/${name}.yaml`;
  writeFileSync(file, `kind: playground
title: ${title}
description: One small machine.
categories: [linux]
playground:
  machines:
    - name: only
      users: [{name: root, default: true}]
      kernel: {source: "6.1"}
      drives: [{source: tiny, mount: /, size: 1GiB}]
      network: {interfaces: [{network: local}]}
      resources: {cpuCount: 1, ramSize: 192MiB}
  accessControl: {canList: [owner], canRead: [owner], canStart: [owner]}
`);
  return control("people/labctl", "playground", "create", name, "--base", "flexbox", "-f", file, "-q");
}

/** Gives the browser a session of the user without showing a page; whom there is not yet is invited. */
export async function as(page: Page, name: string) {
  const data = { name, password };
  const join = (link: string) => page.request.post(`${told.url}/api/auth/links/${link.split("/").at(-1)}`, { data });
  const invite = async (...flags: string[]) => (await control("people/labd", "user", "invite", ...flags)).match(/\/join\/\S+/)![0];
  let reply = await page.request.post(`${told.url}/api/auth/signin`, { data });
  if (reply.status() === 401 && name === "boss") {
    // Whose labctl is control's, unless a story has used the first link up.
    reply = await join(told.first);
    if (!reply.ok()) reply = await join(await invite("--administrator"));
  } else if (reply.status() === 401) {
    reply = await join(await invite());
  }
  if (!reply.ok()) throw new Error(`${name} cannot sign in: ${await reply.text()}`);
}

/** Sees to it that there is a user, of whom the story's own page knows nothing. */
export async function somebody(browser: Browser, name: string) {
  const page = await browser.newPage();
  await as(page, name);
  await page.close();
}

/** A user, or what is named after one, of this try's own: what a first try left is not in a second one's way. */
export const own = (name: string) => name + (test.info().retry || "");

/** Signs in and shows the catalog. */
export async function signIn(page: Page, name: string) {
  await as(page, name);
  await page.goto(told.url + "/");
  await expect(page.getByRole("button", { name: `Account of ${name}` })).toBeVisible();
}

/** Signs in as people do. */
export async function signInByHand(page: Page, name: string) {
  await page.goto(told.url + "/login");
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("button", { name: `Account of ${name}` })).toBeVisible();
}

/** Pictures of the page as it is, light and dark: as the system has it, for who has chosen nothing. */
export async function screens(page: Page, name: string) {
  mkdirSync(told.screens, { recursive: true });
  await inBoth(page, (colours) => page.screenshot({ path: `${told.screens}/${name}-${colours}.png`, animations: "disabled" }));
}

/** On a small screen nothing scrolls sideways. */
export async function narrow(page: Page) {
  const before = page.viewportSize()!;
  await page.setViewportSize({ width: 360, height: 740 });
  // By scrolling: the gutter of a page's scroll bar is part of its clientWidth.
  const sideways = () => page.evaluate(() => {
    scrollTo(1000, scrollY);
    return scrollX;
  });
  await expect.poll(sideways, { message: page.url() }).toBe(0);
  await page.setViewportSize(before);
}

/** Does it with the page in light and then in dark, as the system has it, and leaves the page as it was. */
async function inBoth(page: Page, what: (colours: "light" | "dark") => Promise<unknown>) {
  const html = page.locator("html");
  const before = (await html.getAttribute("data-theme"))!;
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    await expect(html).toHaveAttribute("data-theme", colorScheme);
    await settled(page);
    await what(colorScheme);
  }
  // The page hears of it later: who looks at once must see no mixture of both.
  await page.emulateMedia({ colorScheme: null });
  await expect(html).toHaveAttribute("data-theme", before);
  await settled(page);
}

/** Waits until every colour that is seen is what it is on the way to: in closed parts of a page nothing goes on. */
async function settled(page: Page) {
  await page.evaluate(() => {
    const seen = (a: Animation) => (a.effect as KeyframeEffect | null)?.target?.checkVisibility() ?? false;
    const ending = document.getAnimations().filter((a) => a.effect?.getComputedTiming().iterations !== Infinity && seen(a));
    const given = new Promise((done) => setTimeout(done, 5000)); // what is wrong then, whoever looks will say
    return Promise.race([given, Promise.all(ending.map((a) => a.finished.catch(() => {})))]).then(() => {});
  });
}

/** Nothing on the page is unusable for somebody, light or dark: axe's rules; in dark only colours differ. */
export async function accessible(page: Page) {
  const axe = (await import("axe-core")).default;
  await page.evaluate(axe.source);
  await inBoth(page, async (colours) => {
    const found = await page.evaluate(async (rules) => {
      type Axe = { run: (o: object) => Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }> };
      const { violations } = await (window as unknown as { axe: Axe }).axe.run({ resultTypes: ["violations"], ...(rules && { runOnly: rules }) });
      return violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.html.slice(0, 160)} ${n.failureSummary ?? ""}`).join(" | ")}`);
    }, colours === "dark" && ["color-contrast"]);
    expect(found, colours).toEqual([]);
  });
}

/** Milliseconds from a press on what is found until something is on the page, by the page's clock. */
export async function until(page: Page, press: string, shown: string): Promise<number> {
  await page.evaluate(
    ([press, shown]) => {
      const w = window as unknown as { took?: number };
      delete w.took;
      addEventListener(
        "click",
        (e) => {
          if (!(e.target as Element).closest(press!)) return;
          const began = performance.now();
          const look = () => {
            const there = document.evaluate(shown!, document, null, XPathResult.BOOLEAN_TYPE).booleanValue;
            if (there) w.took = performance.now() - began;
            else requestAnimationFrame(look);
          };
          look();
        },
        { capture: true, once: true },
      );
    },
    [press, shown],
  );
  await page.locator(press).first().click();
  await page.waitForFunction(() => (window as unknown as { took?: number }).took !== undefined, undefined, { timeout: 60_000 });
  return page.evaluate(() => (window as unknown as { took: number }).took);
}
