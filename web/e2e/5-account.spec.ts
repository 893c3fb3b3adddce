// One's own account, and what administrators see and do.
import { type Page, accessible, control, expect, narrow, own, password, screens, signIn, somebody, told, test } from "./story";

/** The administrator comes by a link of the host's, whatever other stories did. */
async function asAdministrator(page: Page) {
  const link = (await control("people/labctl", "auth", "signin-url")).match(/\/signin\/\S+/)![0];
  await page.goto(told.url + link);
  await expect(page.getByRole("link", { name: "Administration" })).toBeVisible();
}

test("the account's page: who one is, and what the plan leaves", async ({ page }) => {
  const mia = own("mia");
  await signIn(page, mia);
  await page.getByRole("button", { name: `Account of ${mia}` }).click();
  await page.getByRole("menuitem", { name: "Account" }).click();
  await expect(page).toHaveURL(told.url + "/account");
  await expect(page).toHaveTitle("Account · Sandlot");
  await expect(page.getByText("Signs in by")).toBeVisible();
  await page.getByRole("button", { name: "Change name" }).click();
  await page.getByLabel("What you are called").fill(" Mia M. ");
  await page.getByRole("button", { name: "Change it" }).click();
  await expect(page.getByRole("definition").filter({ hasText: /^Mia M\.$/ })).toBeVisible();
  await expect(page.getByRole("definition").filter({ hasText: new RegExp(`^${mia}$`) })).toBeVisible();
  await expect(page.getByRole("meter", { name: "Plays that run" })).toHaveAttribute("aria-valuetext", "0 of 2");
  await expect(page.getByText("2 CPUs, 4 GiB")).toBeVisible();
  await expect(page.getByRole("listitem").filter({ hasText: "this one" })).toContainText("Chrome on Linux");
  await screens(page, "account");
  await accessible(page);
  await narrow(page);
});

test("a token is made with scopes, shown once, used, and revoked", async ({ page }) => {
  await signIn(page, own("mia"));
  await page.goto(told.url + "/account");
  await page.getByRole("button", { name: "New token" }).click();
  const dialog = page.getByRole("dialog", { name: "New access token" });
  await dialog.getByLabel("What it is for").fill("nightly");
  await dialog.getByRole("button", { name: "Make it" }).click();
  await expect(dialog.getByRole("alert")).toHaveText("Choose at least one.");
  await dialog.getByLabel("account:read").check();
  await accessible(page);
  await dialog.getByRole("button", { name: "Make it" }).click();
  const token = await dialog.getByLabel("The token", { exact: true }).textContent();
  const ask = async (path: string) => (await fetch(told.url + path, { headers: { Authorization: `Bearer ${token}` } })).status;
  expect(await ask("/api/account")).toBe(200);
  expect(await ask("/api/plays")).toBe(403);
  await screens(page, "account-token");
  await dialog.getByRole("button", { name: "I have it" }).click();
  await expect(page.getByText(token!)).toHaveCount(0);
  await page.getByRole("button", { name: "Revoke nightly" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await expect(page.getByText("None. A token lets a program act for you")).toBeVisible();
  expect(await ask("/api/account")).toBe(401);
});

test("sessions end: one, all others, and those that had the old password", async ({ page, browser }) => {
  const mia = own("mia");
  await signIn(page, mia);
  const others = [await browser.newPage(), await browser.newPage()];
  for (const other of others) {
    await other.goto(told.url + "/login");
    await signIn(other, mia);
  }
  const inside = async (p: Page) => (await p.request.get(told.url + "/api/auth/me")).status() === 200;
  await page.goto(told.url + "/account");
  const rows = page.getByRole("list", { name: "Connected sessions" }).getByRole("listitem");
  await expect(rows.nth(2)).toBeVisible();
  const before = await rows.count();
  expect(before).toBeGreaterThan(2);
  // The newest stands first.
  await rows.first().getByRole("button", { name: /^End the session of/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End it" }).click();
  await expect(rows).toHaveCount(before - 1);
  expect(await inside(others[1]!)).toBe(false);
  await page.getByRole("button", { name: "End all others" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End them" }).click();
  await expect(rows).toHaveCount(1);
  expect(await inside(others[0]!)).toBe(false);

  await signIn(others[0]!, mia);
  const next = "a new one, as long";
  await page.getByRole("button", { name: "Change password" }).click();
  const dialog = page.getByRole("dialog", { name: "Change password" });
  await dialog.getByLabel("Old password").fill("not this one");
  await dialog.getByLabel("New password", { exact: true }).fill(next);
  await dialog.getByLabel("New password again").fill(next + "x");
  await dialog.getByRole("button", { name: "Change it" }).click();
  await expect(dialog.getByText("This is not the same.")).toBeVisible();
  await dialog.getByLabel("New password again").fill(next);
  await dialog.getByRole("button", { name: "Change it" }).click();
  await expect(dialog.getByRole("alert")).toContainText("the old one is not right");
  expect(await inside(others[0]!)).toBe(true);
  await accessible(page);
  await dialog.getByLabel("Old password").fill(password);
  await dialog.getByRole("button", { name: "Change it" }).click();
  await expect(dialog).toHaveCount(0);
  expect(await inside(others[0]!)).toBe(false);
  expect(await inside(page)).toBe(true);
  for (const other of others) await other.close();
});

test("administration is for administrators, whatever address is asked for", async ({ page }) => {
  await signIn(page, "joe");
  await page.goto(told.url + "/admin/users");
  await expect(page.getByRole("heading", { name: "This is for administrators" })).toBeVisible();
  for (const path of ["users", "plans", "host", "jobs", "settings", "plays"]) {
    expect((await page.request.get(`${told.url}/api/admin/${path}`)).status(), path).toBe(403);
  }
});

test("users: found, invited, given plans and rights, locked out and let in again", async ({ page, browser }) => {
  const zoe = own("zoe");
  await somebody(browser, "joe"); // another one than who is looked for
  await asAdministrator(page);
  await page.getByRole("link", { name: "Administration" }).click();
  await expect(page).toHaveTitle("Host · Administration · Sandlot");
  await page.getByRole("navigation", { name: "Administration" }).getByRole("link", { name: "Users" }).click();
  await expect(page).toHaveURL(told.url + "/admin/users");
  await expect(page.getByRole("row", { name: /joe/ })).toBeVisible();
  await screens(page, "admin-users");
  await accessible(page);
  await narrow(page);

  await page.getByRole("button", { name: "Invite somebody" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Make a link" }).click();
  const link = await page.getByLabel("The link", { exact: true }).textContent();
  const other = await browser.newPage();
  await other.goto(link!);
  await other.getByLabel("Name").fill(zoe);
  await other.getByLabel("Password").fill(password);
  await other.getByRole("button", { name: "Continue" }).click();
  await expect(other.getByRole("button", { name: `Account of ${zoe}` })).toBeVisible();
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();

  await page.getByRole("searchbox").fill(zoe);
  const row = page.getByRole("row", { name: new RegExp(zoe) });
  await expect(row).toBeVisible();
  await expect(page.getByRole("row", { name: /joe/ })).toHaveCount(0);
  await page.getByLabel(`Plan of ${zoe}`).selectOption("paid");
  await expect(page.getByText(`${zoe} has another plan.`).first()).toBeVisible();
  await other.goto(told.url + "/account");
  await expect(other.getByRole("meter", { name: "Plays that run" })).toHaveAttribute("aria-valuetext", "0 of 5");

  const menu = async (item: string) => {
    await page.getByRole("button", { name: `What to do with ${zoe}` }).click();
    await page.getByRole("menuitem", { name: item }).click();
  };
  await menu("Make administrator");
  await page.getByRole("dialog").getByRole("button", { name: "Make them one" }).click();
  await expect(row.getByText("administrator", { exact: true })).toBeVisible();
  await other.reload();
  await expect(other.getByRole("link", { name: "Administration" })).toBeVisible();
  await menu("Disable…");
  await page.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
  await expect(row.getByText("disabled")).toBeVisible();
  expect((await other.request.get(told.url + "/api/auth/me")).status()).toBe(401);
  await menu("Enable");
  await expect(row.getByText("disabled")).toHaveCount(0);
  await other.goto(told.url + "/login");
  await signIn(other, zoe);
  await other.close();
  // Nobody locks themselves out.
  await page.getByRole("searchbox").fill("");
  await page.getByRole("row", { name: /\byou\b/ }).getByRole("button", { name: /^What to do/ }).click();
  await expect(page.getByRole("menuitem", { name: "Disable…" })).toHaveAttribute("aria-disabled", "true");
});

test("the host, its settings, and work on its images", async ({ page }) => {
  await asAdministrator(page);
  await page.goto(told.url + "/admin");
  await expect(page.getByRole("meter", { name: /^CPU, of \d+$/ })).toBeVisible();
  await expect(page.getByRole("meter", { name: "Pool of volumes" })).toHaveAttribute("aria-valuetext", /GiB of .*GiB|MiB of .*GiB/);
  await expect(page.getByRole("img", { name: /^Memory in the last hour: now / })).toBeVisible();
  await screens(page, "admin-host");
  await accessible(page);
  await narrow(page);
  // A host with a long name and much of everything, and a labd that was built by hand.
  await page.route("**/api/admin/host", async (route) => {
    const reply = await route.fetch();
    const host = await reply.json();
    host.name = "a-host-whose-name-is-as-long-as-a-label-of-dns-may-be-and-then.x".repeat(2);
    host.version = "v0.0.0-20261122222422-1cbec7d70a7b+dirty-and-more-than-a-line-has-room-for";
    host.cpus = 1024;
    host.kernels = Array.from({ length: 12 }, (_, i) => ({ version: `6.${i}.123`, ready: true }));
    for (const s of host.samples) Object.assign(s, { memoryTotal: 8 * 2 ** 40 - 1, memoryUsed: 7 * 2 ** 40 - 1, poolTotal: 2 ** 50 - 1, poolUsed: 2 ** 49 - 1, machines: 9999, plays: 9999 });
    await route.fulfill({ response: reply, json: host });
  });
  await page.reload();
  await expect(page.getByText("dirty-and-more")).toBeVisible();
  await narrow(page);
  await page.unroute("**/api/admin/host");

  await page.goto(told.url + "/admin/settings");
  await expect(page.getByText("The pool of volumes is mounted")).toBeVisible();
  await expect(page.getByRole("row", { name: /oidc-name/ })).toContainText("Example ID");
  await screens(page, "admin-settings");
  await accessible(page);
  await narrow(page);

  await page.goto(told.url + "/admin/images");
  const images = page.getByRole("list", { name: "Images" });
  await expect(images.getByRole("listitem").filter({ hasText: "tiny" })).toContainText("pulled");
  await expect(images.getByRole("button", { name: /^Build tiny/ })).toHaveCount(0); // from what?
  await page.getByLabel("Image", { exact: true }).fill("/etc/passwd");
  await page.getByRole("button", { name: "Pull", exact: true }).click();
  await expect(page.getByText("Write it like oci://")).toBeVisible();
  // Nobody answers there: the job fails, and says so, even where labd's reply
  // that it runs comes later than what happened to it.
  let reply = () => {};
  const shown = new Promise<void>((resolve) => { reply = resolve; });
  await page.route("**/api/admin/jobs", async (route) => {
    const response = await route.fetch();
    if (route.request().method() === "POST") await shown;
    await route.fulfill({ response });
  });
  const jobs = page.getByRole("list", { name: "Builds and pulls" }).getByRole("listitem");
  await page.getByLabel("Image", { exact: true }).fill("oci://127.0.0.1:1/none:1");
  await page.getByRole("button", { name: "Pull", exact: true }).click();
  const job = jobs.filter({ hasText: "127.0.0.1:1" }).first(); // those of an earlier try stand below
  await expect(job.getByText("failed", { exact: true })).toBeVisible({ timeout: 120_000 });
  const replied = page.waitForResponse((r) => r.url().endsWith("/api/admin/jobs") && r.request().method() === "POST");
  reply();
  await replied;
  await expect(page.getByRole("button", { name: "Pull", exact: true })).toBeEnabled();
  await expect(job).toContainText("cannot");
  await page.unroute("**/api/admin/jobs");
  await page.getByRole("button", { name: "Build debian-12" }).click();
  const build = jobs.filter({ hasText: "Build debian-12" }).first();
  await expect(build.getByText("running", { exact: true })).toBeVisible();
  await screens(page, "admin-images");
  await accessible(page);
  await build.getByRole("button", { name: "Cancel" }).click();
  await expect(build.getByText("cancelled", { exact: true })).toBeVisible({ timeout: 60_000 });
  await narrow(page);
});

test("everybody's plays: seen, stopped and destroyed by an administrator", async ({ page }) => {
  await asAdministrator(page);
  await page.goto(told.url + "/admin/plays?owner=nobody");
  await expect(page.getByRole("heading", { name: "There are no plays" })).toBeVisible();
  await page.getByRole("link", { name: "Show all" }).click();
  await expect(page).toHaveURL(told.url + "/admin/plays");
  await expect(page.getByRole("table").or(page.getByRole("heading", { name: "There are no plays" }))).toBeVisible();
  await screens(page, "admin-plays");
  await accessible(page);
});

test("the editor: a new playground, its mistakes at their lines, changed and removed", async ({ page }) => {
  await signIn(page, own("ned"));
  await page.getByRole("link", { name: "New playground" }).click();
  await expect(page).toHaveURL(told.url + "/new");
  const editor = page.getByRole("textbox", { name: "Manifest" });
  await expect(editor).toContainText("source: debian-12");
  // An image that is not built is a warning, no error.
  await expect(page.getByRole("list", { name: "Problems" })).toContainText("debian-12");
  await screens(page, "editor");
  await accessible(page);
  await narrow(page);

  const write = async (text: string) => {
    await editor.click();
    await page.keyboard.press("Control+a");
    await page.keyboard.insertText(text);
  };
  const lab = (size: string) => `kind: playground
title: A lab of ned's
categories: [linux]
playground:
  networks:
    - {name: local, subnet: 172.16.0.0/24}
  machines:
    - name: pc
      users: [{name: root, default: true}]
      drives:
        - {source: tiny, mount: /, size: ${size}}
      network: {interfaces: [{network: local}]}
  tabs: []
  accessControl: {canList: [owner], canRead: [owner], canStart: [owner]}
`;
  await write(lab("10 elephants"));
  const problem = page.getByRole("list", { name: "Problems" }).getByRole("button").filter({ hasText: "elephants" });
  await expect(problem).toContainText("line 11");
  await expect(page.locator(".cm-lintRange-error").first()).toContainText("elephants");
  await screens(page, "editor-problem");
  await problem.click();
  await expect(editor).toBeFocused();
  await page.getByRole("button", { name: "Create" }).click();
  await expect(page.getByText("This is needed.")).toBeVisible();
  await page.getByLabel("Name").fill("neds-lab");
  await page.getByRole("button", { name: "Create" }).click();
  await expect(page.getByRole("alert")).toContainText("cannot be saved before its errors are mended");
  await write(lab("1GiB"));
  await expect(page.getByText("no problems")).toBeVisible();
  await editor.click();
  await page.keyboard.press("Control+s");
  await expect(page).toHaveURL(/\/playgrounds\/neds-lab-[0-9a-f]{8}$/);
  await expect(page.getByRole("heading", { name: "A lab of ned's" })).toBeVisible();

  // What its start takes of the plan, and on what.
  await expect(page.getByLabel("What your plan leaves")).toContainText("1 of the 2 plays that you may still run");
  await expect(page.getByLabel("What your plan leaves")).toContainText("1 GiB of the 120 GiB left for drives");
  await page.getByText("Backend and kernel").click();
  await expect(page.getByLabel("Backend").getByRole("option", { name: "QEMU", exact: true })).toBeEnabled();
  await expect(page.getByLabel("Backend").getByRole("option", { name: "Firecracker (not on this host)" })).toBeDisabled();

  await page.getByRole("link", { name: "Edit" }).click();
  await expect(editor).toContainText("A lab of ned's");
  await expect(page).toHaveTitle(/^Edit neds-lab-/);
  await write(lab("1GiB").replace("A lab of ned's", "Another lab"));
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("heading", { name: "Another lab" })).toBeVisible();
  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByRole("button", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await expect(page).toHaveURL(told.url + "/?shelf=mine");
  await expect(page.getByText("Playgrounds of your own appear here")).toBeVisible();
  // Somebody else's, and one that there is not.
  await page.goto(told.url + "/playgrounds/no-such-one/edit");
  await expect(page.getByRole("alert")).toContainText("no-such-one");
});
