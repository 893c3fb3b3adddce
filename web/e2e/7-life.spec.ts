// A play's life from its page: stopped, started, saved, forked, restarted and
// destroyed, with a labd that goes away in the middle.
import { accessible, as, control, expect, screens, small, test, told } from "./story";

test.describe.configure({ mode: "serial" });

const begun = { timeout: 120_000 };
let play = "";

test("a labd that restarts while machines boot loses no start", async ({ page, watched }) => {
  watched.allowed.push(/WebSocket|ERR_|Failed to fetch/);
  const name = await small("life", "A small life");
  await as(page, "boss");
  await page.goto(`${told.url}/playgrounds/${name}`);
  await page.getByRole("button", { name: "Start" }).click();
  await page.waitForURL(/\/plays\/[0-9a-f]{24}$/);
  play = page.url().split("/").at(-1)!;
  await expect(page.getByRole("list", { name: "Steps of only" })).toBeVisible();
  await control("people/stop");
  await control("people/start");
  await expect(page.getByRole("tab", { name: "only" })).toBeVisible(begun);
  const row = page.getByRole("region", { name: "Terminal only" });
  await expect(row).toHaveAttribute("data-state", "open", begun);
  await row.getByRole("textbox").focus();
  await page.keyboard.type("append /root/kept words that stay\n");
  await page.keyboard.type("cat /root/kept\n");
  await expect(row.locator(".xterm-rows")).toContainText(/(words that stay[^]*){2}/);
});

test("stopped, saved as a playground, forked, and started again", async ({ page }) => {
  await as(page, "boss");
  await page.goto(`${told.url}/plays/${play}`);
  const more = async (item: string) => {
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("menuitem", { name: item }).click();
  };
  await more("Change the title");
  await page.getByRole("dialog").getByLabel("Title").fill("A life <b>of</b> its own");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "A life <b>of</b> its own" })).toBeVisible();
  await expect(page).toHaveTitle("A life <b>of</b> its own · Sandlot");

  await more("Save as playground…");
  await page.getByRole("dialog").getByRole("button", { name: "Stop it" }).click();
  const save = page.getByRole("dialog", { name: "Save as a playground" });
  await expect(save).toBeVisible(begun);
  await save.getByLabel("Title").fill("Kept life");
  await save.getByLabel("Name").fill("kept-life");
  await expect(page.getByText(/Stopped/).first()).toBeVisible(begun);
  await screens(page, "save-play");
  await accessible(page);
  await save.getByRole("button", { name: "Save" }).click();
  await page.waitForURL(/\/playgrounds\/kept-life-[0-9a-f]{8}$/);
  await expect(page.getByRole("heading", { level: 1, name: "Kept life" })).toBeVisible();

  await page.goto(`${told.url}/plays/${play}?keep=fork`);
  const fork = page.getByRole("dialog", { name: "Fork this play" });
  await screens(page, "stopped");
  await fork.getByRole("button", { name: "Fork" }).click();
  await page.waitForURL((url) => /\/plays\/[0-9a-f]{24}$/.test(url.pathname) && !url.pathname.endsWith(play));
  const second = page.getByRole("region", { name: "Terminal only" });
  await expect(second).toHaveAttribute("data-state", "open", begun);
  await second.getByRole("textbox").focus();
  await page.keyboard.type("cat /root/kept\n");
  await expect(second.locator(".xterm-rows")).toContainText("words that stay");
  await more("Destroy");
  await page.getByRole("dialog").getByRole("button", { name: "Destroy" }).click();
  await expect(page).toHaveURL(told.url + "/plays");

  await page.goto(`${told.url}/plays/${play}`);
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await expect(page.getByRole("tab", { name: "only" })).toBeVisible(begun);
});

test("restarted, and destroyed", async ({ page }) => {
  await as(page, "boss");
  await page.goto(`${told.url}/plays/${play}`);
  const row = page.getByRole("region", { name: "Terminal only" });
  await expect(row).toHaveAttribute("data-state", "open", begun);
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem", { name: "Restart" }).click();
  await page.getByRole("dialog", { name: "Restart this play?" }).getByRole("button", { name: "Restart" }).click();
  await expect(page.getByRole("list", { name: "Steps of only" })).toBeVisible(begun);
  await expect(row).toHaveAttribute("data-state", "open", begun);
  await row.getByRole("textbox").focus();
  await page.keyboard.type("cat /root/kept\n");
  await expect(row.locator(".xterm-rows")).toContainText("words that stay");
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem", { name: "Destroy" }).click();
  await page.getByRole("dialog", { name: "Destroy this play?" }).getByRole("button", { name: "Destroy" }).click();
  await expect(page).toHaveURL(told.url + "/plays");
  await page.goto(`${told.url}/plays/${play}`);
  await expect(page.getByRole("heading", { name: /(is being|has been) removed/ })).toBeVisible();
});
