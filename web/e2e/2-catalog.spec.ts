// What there is, found by its shelf, category and words; and one of it.
import { accessible, control, expect, narrow, screens, signIn, told, test } from "./story";
import { writeFileSync } from "node:fs";

const word = "Donaudampfschiff".repeat(9);

const hostile = `kind: playground
title: "Hostile <img src=x onerror=window.pwned=1> ${word.slice(0, 70)}"
description: "<script>window.pwned=1</script> ${word}"
categories: [linux]
cover: "https://evil.example/cover.png"
markdown: |
  # Hello <script>window.pwned=1</script>

  <img src=x onerror="window.pwned=1"> <iframe src="javascript:parent.pwned=1"></iframe>

  [a link](javascript:window.pwned=1) ![a picture](https://evil.example/a.png) [out](https://example.org/)

  | a | b |
  |---|---|
  | 1 | 2 |

  ${word} \`${word}\`

      ${word}
playground:
  networks:
    - {name: lan, subnet: 10.0.0.0/24, private: true}
    - {name: wan, subnet: 10.1.0.0/24}
  machines:
    - name: router
      users: [{name: root, default: true}]
      drives: [{source: tiny, mount: /, size: 1GiB}]
      network: {interfaces: [{network: lan, address: 10.0.0.2/24}, {network: wan, address: 10.1.0.2/24}]}
      resources: {cpuCount: 1, ramSize: 256MiB}
    - name: pc
      users: [{name: root, default: true}]
      drives: [{source: tiny, mount: /, size: 1GiB}]
      network: {interfaces: [{network: lan}]}
      resources: {cpuCount: 2, ramSize: 512MiB}
  tabs:
    - {kind: terminal, machine: router, name: Router}
    - {kind: http-port, machine: pc, number: 80, name: Shop${word}}
  initConditions:
    values:
      - {key: runtime, options: [docker, podman], default: docker}
      - {key: host name, validationRegex: "^[a-z]+$", placeholder: like alpha}
      - {key: note, nullable: true}
  initTasks:
    first: {machine: router, init: true, run: "true"}
    second: {machine: pc, init: true, needs: [first], conditions: [{key: runtime, value: podman}], run: "true"}
  accessControl: {canList: [anyone], canRead: [anyone], canStart: [anyone]}
`;

test("cards, shelves, categories and words", async ({ page }) => {
  await signIn(page, "ann");
  await page.goto(told.url + "/");
  const cards = page.getByRole("listitem").filter({ has: page.getByRole("heading", { level: 2 }) });
  await expect(cards.filter({ hasText: "Docker" }).first()).toBeVisible();
  await expect(page).toHaveTitle("Catalog · Sandlot");
  await screens(page, "catalog");
  await accessible(page);
  const all = await cards.count();
  expect(all).toBeGreaterThan(6);
  await page.getByRole("searchbox").fill("docker swarm");
  await expect(cards).toHaveCount(1);
  await expect(page).toHaveURL(/q=docker/);
  await page.getByRole("searchbox").fill("no such thing");
  await expect(page.getByRole("heading", { name: "Nothing matches" })).toBeVisible();
  await page.getByRole("button", { name: "Show all" }).click();
  await expect(cards).toHaveCount(all);
  await page.getByRole("radio", { name: "programming" }).click();
  await expect(cards.filter({ hasText: "Python" })).toHaveCount(1);
  await expect(cards.filter({ hasText: "Swarm" })).toHaveCount(0);
  expect(await cards.count()).toBeLessThan(all);
  await page.getByRole("radio", { name: "programming" }).click();
  await page.getByRole("radio", { name: "Mine" }).click();
  await expect(page.getByText("Playgrounds of your own appear here")).toBeVisible();
  // A search is a link.
  await page.goto(told.url + "/?q=golang");
  await expect(cards).toHaveCount(1);
});

test("by keyboard alone", async ({ page }) => {
  await signIn(page, "ann");
  await page.goto(told.url + "/?q=golang");
  await expect(page.getByRole("link", { name: /Go/ }).last()).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "New playground" })).toBeFocused();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("searchbox")).toBeFocused();
  for (let i = 0; i < 6; i++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement?.getAttribute("href")?.startsWith("/playgrounds/"))) break;
  }
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(told.url + "/playgrounds/golang");
});

test("a small screen shows all of it without scrolling sideways", async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await signIn(page, "ann");
  for (const path of ["/", "/playgrounds/mini-lan", "/plays", "/nowhere"]) {
    await page.goto(told.url + path);
    await expect(page.getByRole("heading").first()).toBeVisible();
    await narrow(page);
  }
  await page.getByRole("button", { name: "Pages" }).click();
  await page.getByRole("menuitem", { name: "Catalog" }).click();
  await expect(page).toHaveURL(told.url + "/");
});

test("what an author wrote is shown, and none of it runs", async ({ page, watched }) => {
  watched.allowed.push(/Content Security Policy.*evil\.example/);
  const file = `${told.out}/hostile.yaml`;
  writeFileSync(file, hostile);
  const name = (await control("people/labctl", "playground", "create", "hostile", "--base", "flexbox", "-f", file, "-q")).trim();
  await signIn(page, "ann");
  await page.goto(`${told.url}/?shelf=community`);
  const card = page.getByRole("link", { name: /^Hostile <img/ }).and(page.locator(`[href$="/${name}"]`)); // not a first try's
  await expect(card).toBeVisible();
  await narrow(page);
  await card.click();
  await expect(page).toHaveURL(`${told.url}/playgrounds/${name}`);
  await expect(page.getByRole("heading", { name: /^Hostile <img/ })).toBeVisible();
  await expect(page.getByText("<script>window.pwned=1</script>").first()).toBeVisible();
  await expect(page.getByRole("cell", { name: "2" })).toBeVisible();
  await expect(page.getByRole("link", { name: "out" })).toHaveAttribute("rel", /noopener/);
  expect(await page.evaluate(() => (window as unknown as { pwned?: number }).pwned)).toBeUndefined();
  expect(await page.locator("iframe, main script, main img[src^=http]").count()).toBe(0);

  // Machines, networks, tabs and tasks.
  await narrow(page);
  await expect(page.getByRole("img", { name: "router on lan as 10.0.0.2/24 and wan as 10.1.0.2/24; pc on lan" })).toBeVisible();
  await expect(page.getByText("Web application of pc, port 80")).toBeVisible();
  await expect(page.getByText("on pc, after first, if runtime is podman")).toBeVisible();
  await expect(page.getByLabel("What it takes")).toContainText("2 machines 3 CPUs 768 MiB");

  // The form: nothing is sent before it is right.
  const start = page.getByRole("button", { name: "Start" });
  await expect(start).toBeDisabled();
  await page.getByRole("checkbox").check();
  await start.click();
  await expect(page.getByText("This is needed.")).toBeVisible();
  await expect(page.getByLabel("host name")).toBeFocused();
  await page.getByLabel("host name").fill("NO");
  await expect(page.getByText("Write what matches ^[a-z]+$")).toBeVisible();
  await accessible(page);
});

test("a playground's page", async ({ page }) => {
  await signIn(page, "ann");
  await page.goto(told.url + "/playgrounds/mini-lan");
  await expect(page.getByRole("img", { name: /^Machines and networks/ })).toBeVisible();
  await page.getByText("Backend and kernel").click();
  await expect(page.getByLabel("Kernel").getByRole("option", { name: /^6\.1( |$)/ })).toBeAttached();
  await page.getByText("Backend and kernel").click();
  await screens(page, "playground");
  await accessible(page);
  await page.goto(told.url + "/playgrounds/no-such-one");
  await expect(page.getByRole("alert")).toContainText("no-such-one");
});

test("an address where nothing is", async ({ page }) => {
  const reply = await page.goto(told.single + "/some/where");
  expect(reply!.status()).toBe(404);
  await expect(page.getByRole("heading", { name: "There is nothing at this address" })).toBeVisible();
  await page.getByRole("link", { name: "Go to the catalog" }).click();
  await expect(page.getByRole("heading", { name: "What do you want to try?" })).toBeVisible();
});

test("colours as chosen, and kept", async ({ page }) => {
  await page.goto(told.single + "/");
  await page.getByRole("button", { name: "Colours" }).click();
  await page.getByRole("menuitem", { name: "Dark" }).click();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
});

test("labd goes away and comes back, and the page with it", async ({ page, watched }) => {
  watched.allowed.push(/ERR_CONNECTION_REFUSED|WebSocket/);
  await page.goto(told.single + "/plays");
  await expect(page.getByRole("heading", { name: "Nothing runs" })).toBeVisible();
  await control("alone/stop");
  await page.getByRole("link", { name: "Catalog" }).click();
  await expect(page.getByText("labd cannot be reached. The page goes on by itself")).toBeVisible();
  await screens(page, "offline");
  await control("alone/start");
  await expect(page.getByText("labd cannot be reached")).toHaveCount(0, { timeout: 30_000 });
  await expect(page.getByRole("link", { name: "Docker" }).first()).toBeVisible();
});
