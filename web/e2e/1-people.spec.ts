// Who comes in, and how: every way, and what happens when it is not good.
import { accessible, control, expect, own, password, screens, signIn, signInByHand, somebody, told, test } from "./story";

test("nobody is asked to sign in first, and comes back to where they wanted", async ({ page }) => {
  await page.goto(told.url + "/plays?x=1");
  await expect(page).toHaveURL(told.url + "/login?next=%2Fplays%3Fx%3D1");
  await expect(page).toHaveTitle("Sign in · Sandlot");
  await expect(page.getByRole("link", { name: "Sign in with Example ID" })).toHaveAttribute("href", "/auth/provider?next=%2Fplays%3Fx%3D1");
  await screens(page, "sign-in");
  await accessible(page);
});

test("the first administrator comes by the link that labd prints, once", async ({ page }) => {
  await page.goto(told.first);
  await expect(page.getByRole("heading", { name: "Welcome to Sandlot" })).toBeVisible();
  await accessible(page);
  await screens(page, "join");
  await page.getByLabel("Name").fill("boss");
  await page.getByLabel("Password").fill("short");
  await page.getByRole("button", { name: "Continue" }).click(); // the browser itself says what is wrong
  await expect(page).toHaveURL(told.first);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Continue" }).click();
  await expect(page.getByRole("button", { name: "Account of boss" })).toBeVisible();
  await expect(page.getByRole("link", { name: "Administration" })).toBeVisible();
  await page.goto(told.first);
  await expect(page.getByRole("alert")).toBeVisible();
});

test("an invited person, a wrong password, the right one, and out again", async ({ page }) => {
  const ann = own("ann");
  const link = (await control("people/labd", "user", "invite")).match(/\/join\/\S+/)![0];
  await page.goto(told.url + link);
  await page.getByLabel("Name").fill("boss");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Continue" }).click();
  await expect(page.getByRole("alert")).toContainText("boss");
  await page.getByLabel("Name").fill(ann);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("button", { name: `Account of ${ann}` }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await expect(page).toHaveURL(told.url + "/login");
  await page.getByLabel("Name").fill(ann);
  await page.getByLabel("Password").fill("not the right one");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByRole("alert")).toContainText("do not open an account");
  await signInByHand(page, ann);
  await expect(page.getByRole("link", { name: "Administration" })).toHaveCount(0);
});

test("by the OpenID Connect provider", async ({ page }) => {
  await page.goto(told.url + "/login?next=/plays");
  await page.getByRole("link", { name: "Sign in with Example ID" }).click();
  await expect(page).toHaveURL(told.url + "/plays");
  await expect(page.getByRole("heading", { name: "Nothing runs" })).toBeVisible();
  // What the provider says of the person is in the profile.
  await page.goto(told.url + "/account");
  await expect(page.getByRole("definition").filter({ hasText: "jane.doe@example.com" })).toBeVisible();
});

test("by a link that is good once, and another site's cannot do it unasked", async ({ page, browser }) => {
  const link = async () => (await control("people/labctl", "auth", "signin-url")).match(/\/signin\/\S+/)![0];
  const path = await link();
  await page.goto(told.url + path);
  await expect(page.getByRole("button", { name: "Account of boss" })).toBeVisible();
  const other = await browser.newPage();
  await other.goto(told.url + path);
  await other.getByRole("button", { name: "Sign in" }).click();
  await expect(other.getByRole("alert")).toBeVisible();
  // As a link on another site: the page asks.
  await other.goto(told.single + "/login");
  const second = await link();
  await other.evaluate((to) => location.assign(to), told.url.replace("localhost", "127.0.0.1") + second);
  await other.waitForURL("**/signin/**");
  await other.getByRole("button", { name: "Sign in" }).click();
  await expect(other.getByRole("button", { name: "Account of boss" })).toBeVisible();
  await other.close();
});

test("a client of ours is let in by a person who looks at what asks", async ({ page, browser }) => {
  const ann = own("ann");
  await somebody(browser, ann);
  const asked = (await (await fetch(told.url + "/api/sessions", { method: "POST", headers: { "User-Agent": "labctl/<b>1</b>" } })).json()) as { id: string; accessToken: string; authUrl: string };
  const state = async () => (await (await fetch(`${told.url}/api/sessions/${asked.id}`, { headers: { Authorization: "Basic " + btoa(`${asked.id}:${asked.accessToken}`) } })).json()) as { authenticated: boolean };
  await page.goto(asked.authUrl);
  await expect(page.getByText("A program asks to act as you")).toBeVisible();
  await page.getByLabel("Name").fill(ann);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByText("labctl/<b>1</b>")).toBeVisible();
  await screens(page, "confirm-client");
  await accessible(page);
  expect((await state()).authenticated).toBe(false);
  await page.getByRole("button", { name: "Let it in" }).click();
  await expect(page.getByRole("heading", { name: "Signed in" })).toBeVisible();
  expect((await state()).authenticated).toBe(true);
});

test("a session that ends in the middle is asked for, and what was begun goes on", async ({ page }) => {
  const ann = own("ann");
  await signIn(page, ann);
  await page.goto(told.url + "/playgrounds/debian-12");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await control("people/labd", "user", "disable", ann);
  await control("people/labd", "user", "enable", ann);
  // The page may have noticed by itself: then the link is behind the dialog.
  await page.getByRole("link", { name: "My plays", includeHidden: true }).dispatchEvent("click");
  const dialog = page.getByRole("dialog", { name: "Your session has ended" });
  await expect(dialog).toBeVisible();
  await screens(page, "session-ended");
  await dialog.getByLabel("Password").fill(password);
  await dialog.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByRole("heading", { name: "Nothing runs" })).toBeVisible();
});
