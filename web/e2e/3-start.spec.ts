// From the button to the machine: the loading screen, on real machines.
import { writeFileSync } from "node:fs";
import { accessible, control, expect, screens, signIn, told, test, until } from "./story";

const machine = (name: string) => `
    - name: ${name}
      users: [{name: root, default: true}]
      kernel: {source: "6.1"}
      drives: [{source: tiny, mount: /, size: 1GiB}]
      network: {interfaces: [{network: local}]}
      resources: {cpuCount: 1, ramSize: 256MiB}`;

const lab = `kind: playground
title: Two of a kind
description: Two small machines and what must be done before they are of use.
categories: [linux]
playground:
  machines:${machine("one")}${machine("two")}
  initConditions:
    values:
      - {key: ending, options: [good, bad], default: good}
  initTasks:
    prepare: {machine: one, init: true, run: "echo preparing the first machine; until [ -e /tmp/go ]; do sleep 0.1; done; echo prepared"}
    broken: {machine: two, init: true, conditions: [{key: ending, value: bad}], run: "echo because of this >&2; exit 3"}
    last: {machine: two, init: true, needs: [prepare], run: "echo at last"}
  accessControl: {canList: [anyone], canRead: [anyone], canStart: [anyone]}
`;

test.describe.configure({ mode: "serial" });

let name = "";
let play = "";

test("a start is watched, left, come back to, and entered", async ({ page }) => {
  const file = `${told.out}/pair.yaml`;
  writeFileSync(file, lab);
  name = (await control("people/labctl", "playground", "create", "pair", "--base", "flexbox", "-f", file, "-q")).trim();
  await signIn(page, "boss");
  await page.goto(`${told.url}/playgrounds/${name}`);
  await expect(page.getByRole("button", { name: "Start" })).toBeEnabled();
  const took = await until(page, 'button[type="submit"]', '//ol[@aria-label="Steps of one"]/li');
  console.log(`first progress line after ${Math.round(took)} ms, by the page's clock`);
  const steps = page.getByRole("list", { name: "Steps of one" });
  await page.waitForURL(/\/plays\/[0-9a-f]{24}$/);
  play = page.url().split("/").at(-1)!;
  await expect(page).toHaveTitle("Two of a kind: starting · Sandlot");
  await page.getByRole("button", { name: "Console of one" }).click();
  await expect(page.getByRole("log", { name: "Console of one" })).toContainText(/\S/);
  await expect(steps.getByText("done: Boot")).toBeVisible({ timeout: 60_000 });
  // Leaving and coming back.
  await page.getByRole("link", { name: "My plays" }).click();
  await expect(page.getByRole("link", { name: "Two of a kind" })).toBeVisible();
  await screens(page, "plays");
  await accessible(page);
  await page.getByRole("link", { name: "Two of a kind" }).click();
  await expect(page.getByRole("heading", { name: "Preparing Two of a kind" })).toBeVisible({ timeout: 60_000 });
  await page.getByRole("button", { name: "Output of prepare" }).click();
  await expect(page.getByRole("log", { name: "Output of prepare" })).toContainText("preparing the first machine");
  await screens(page, "starting");
  await accessible(page);
  await expect(page.getByRole("button", { name: "Enter now" })).toBeVisible();
  await control("people/labctl", "terminal", play, "-m", "one", "--", "append", "/tmp/go", "now");
  // The play page comes by itself.
  await expect(page.getByRole("heading", { name: /Preparing/ })).toHaveCount(0, { timeout: 120_000 });
  await control("people/labctl", "playground", "destroy", play);
});

test("what failed is said, and the ways on lead on", async ({ page }) => {
  await signIn(page, "boss");
  await page.goto(`${told.url}/playgrounds/${name}`);
  await page.getByLabel("ending").selectOption("bad");
  await page.getByRole("button", { name: "Start" }).click();
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("The task broken failed", { timeout: 120_000 });
  await expect(page.getByRole("log", { name: "Output of broken" })).toContainText("because of this");
  await screens(page, "start-failed");
  await accessible(page);
  await expect(alert.getByRole("button", { name: "Try again" })).toBeVisible();
  await expect(alert.getByRole("button", { name: "Enter anyway" })).toBeVisible();
  await alert.getByRole("button", { name: "Destroy" }).click();
  const ask = page.getByRole("dialog", { name: "Destroy Two of a kind?" });
  await ask.getByRole("button", { name: "Destroy" }).click();
  await expect(page).toHaveURL(told.url + "/plays");
});
