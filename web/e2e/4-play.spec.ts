// Inside a play: its tabs, and what stands above and beside them.
import { type Terminal, desk, hover, shell, terminal } from "./desk";
import { accessible, as, control, expect, password, screens, told, test } from "./story";

test("the tabs of the manifest, each in its pane", async ({ page }) => {
  const play = await desk(page);
  await expect(page).toHaveTitle("The desk · Sandlot");
  const left = page.getByRole("tablist", { name: "Left pane" });
  const right = page.getByRole("tablist", { name: "Right pane" });
  await expect(left.getByRole("tab")).toHaveText(["One", "Two", "Manual", "Editor", "Cluster"]);
  await expect(right.getByRole("tab")).toHaveText(["Site", "Hostile"]);
  // Who arrives can type at once.
  await expect(page.getByRole("region", { name: "Terminal One", exact: true }).getByRole("textbox", { name: "Terminal input" })).toBeFocused();
  await (await terminal(page, "One")).run("echo Hello from $(hostname)", "Hello from one");
  await expect(page.frameLocator('iframe[title="Site"]').getByRole("heading", { name: "The site of one" })).toBeVisible();
  await screens(page, "play");
  await accessible(page);
  // An animation has all of the page drawn again at each frame, for as long as it is open.
  const moving = () => document.getAnimations().filter((a) => a.playState === "running" && a.effect?.getComputedTiming().iterations === Infinity);
  expect(await page.evaluate(`(${moving})().map((a) => a.animationName)`)).toEqual([]);

  // What is elsewhere, or not in the image.
  await left.getByRole("tab", { name: "Manual" }).click();
  await expect(page.getByRole("link", { name: "Open example.org" })).toHaveAttribute("rel", "noopener noreferrer");
  await left.getByRole("tab", { name: "Editor" }).click();
  await expect(page.getByRole("heading", { name: "one has no IDE" })).toBeVisible();
  await screens(page, "play-no-ide");
  // One that comes later: anything that answers at its port.
  await shell(play, "one", "httpd -p 50062 -h /www");
  await page.getByRole("button", { name: "Look again" }).click();
  await expect(page.frameLocator('iframe[title="Editor"]').getByRole("heading", { name: "The site of one" })).toBeVisible();
  await left.getByRole("tab", { name: "Cluster" }).click();
  await expect(page.getByRole("heading", { name: "There is no Kubernetes Explorer" })).toBeVisible();
  await page.getByRole("tabpanel", { name: "Cluster" }).getByRole("button", { name: "Open a terminal" }).click();
  await expect(left.getByRole("tab", { selected: true })).toHaveText("one");
});

test("a terminal: size, letters of all kinds, words found, links, copies", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: told.url });
  await desk(page);
  const one = await terminal(page, "One");

  // The shell knows the size that is seen, also after it changed.
  let asked = 0;
  const columns = async () => {
    const said = new RegExp(`is-${++asked} (\\d+) (\\d+)`);
    await one.run(`clear; echo is-${asked} $(stty size)`, said);
    const [, rows, cols] = (await one.rows.textContent())!.match(said)!;
    await expect(one.rows.locator("> div")).toHaveCount(Number(rows));
    return Number(cols);
  };
  const before = await columns();
  await page.setViewportSize({ width: 1000, height: 600 });
  await expect(async () => expect(await columns()).toBeLessThan(before)).toPass();

  // Unicode both ways; wide characters take two cells.
  await one.run("clear; printf 'é 日本 ❤ 🚀|%s\\n' shown-$((1 + 1))", "é 日本 ❤ 🚀|shown-2");
  await one.run("echo -n 日本🚀 | wc -c", "10");

  // Search looks through all that is kept: ten thousand lines, and no more.
  await one.run("clear; seq 1 12000; echo that was all", /that was all\s*~ #/, 120_000);
  await page.keyboard.press("Control+Shift+F");
  const words = page.getByRole("textbox", { name: "Find in this terminal" });
  const find = async (what: string, shown: string) => {
    await words.fill(what);
    await expect(page.getByRole("search")).toContainText("1 of 1");
    await expect(one.rows).toContainText(shown);
  };
  await find("2050", "2050");
  await find("1870", "11870"); // 1870 itself is there no more
  await words.press("Escape");

  // A link opens beside the page, which it knows nothing of.
  await one.run(`clear; echo ${told.single}/plays; echo; echo shown-$((1 + 1))`, "shown-2");
  const line = (await one.rows.locator("> div").filter({ hasText: "/plays" }).last().boundingBox())!;
  await hover(one, line);
  const opened = page.waitForEvent("popup");
  await page.mouse.click(line.x + 60, line.y + line.height / 2);
  const beside = await opened;
  await expect(beside.getByRole("heading", { name: "Nothing runs" })).toBeVisible();
  expect(await beside.evaluate(() => window.opener as unknown)).toBeNull();
  await beside.close();

  // What is selected is copied, and pasted.
  await one.run("clear; echo copied$((6 * 7))word", "copied42word");
  const word = (await one.rows.locator("> div").filter({ hasText: /^copied42word/ }).boundingBox())!;
  await page.mouse.dblclick(word.x + 30, word.y + word.height / 2);
  await page.keyboard.press("Control+Shift+C");
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe("copied42word");
  await one.box.getByRole("textbox").focus();
  await page.keyboard.type("echo pasted-");
  await page.keyboard.press("Control+Shift+V");
  await expect(one.rows).toContainText("echo pasted-copied42word");
  await page.keyboard.press("Enter");
  await expect(one.rows).toContainText(/(pasted-copied42word[^]*){2}/);
});

test("two panes: moved, made wider, closed, and as they were when the page is loaded again", async ({ page }) => {
  await desk(page);
  await terminal(page, "Two");
  await page.getByRole("button", { name: "Move this tab to the right" }).click();
  const right = page.getByRole("tablist", { name: "Right pane" });
  await expect(right.getByRole("tab")).toHaveText(["Two", "Site", "Hostile"]);
  const divider = page.getByRole("separator", { name: "Width of the panes" });
  const wide = async () => (await page.getByRole("tabpanel", { name: "Two" }).boundingBox())!.width;
  const before = await wide();
  await divider.focus();
  for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowLeft");
  await expect(divider).toHaveAttribute("aria-valuenow", "40");
  await expect.poll(wide).toBeGreaterThan(before);
  const at = (await divider.boundingBox())!;
  await page.mouse.move(at.x + at.width / 2, at.y + 100);
  await page.mouse.down();
  await page.mouse.move(at.x + 200, at.y + 100, { steps: 4 });
  await page.mouse.up();
  await expect.poll(() => divider.getAttribute("aria-valuenow").then(Number)).toBeGreaterThan(45);

  // Several terminals of one machine, each with a shell of its own; loading the
  // page again goes on with them.
  await page.getByRole("tablist", { name: "Left pane" }).getByRole("tab", { name: "One" }).click();
  const first = await terminal(page, "One");
  await first.run("mark=first; echo is-$mark", "is-first");
  await page.getByRole("button", { name: "New terminal" }).first().click();
  await page.getByRole("menuitem", { name: "one", exact: true }).click();
  const second = await terminal(page, "one");
  await second.run("echo is-${mark:-nothing}", "is-nothing");
  await page.reload();
  await (await terminal(page, "One")).run("echo still-$mark", "still-first");
  await expect(right.getByRole("tab")).toHaveText(["Two", "Site", "Hostile"]);
  await page.getByRole("tab", { name: "one", exact: true }).focus();
  await page.keyboard.press("Delete");
  await expect(page.getByRole("tab", { name: "one", exact: true })).toHaveCount(0);
});

test("an application in a frame: loaded again, opened outside, and kept to itself", async ({ page, watched }) => {
  watched.allowed.push(/Unsafe attempt to initiate navigation|Failed to set|sandboxed|Blocked a frame|blocked by CORS policy|frame-ancestors|Refused to (display|frame)|Framing/);
  await desk(page);
  await page.getByRole("tab", { name: "Site" }).click();
  const site = page.frameLocator('iframe[title="Site"]');
  await site.getByRole("link", { name: "uptime" }).click(); // what the frame's own address is guarded by is sent
  await expect(site.locator("body")).toContainText(/\d+\.\d+/);
  await page.getByRole("tabpanel", { name: "Site" }).getByRole("button", { name: "Load it again" }).click();
  await expect(site.getByRole("heading", { name: "The site of one" })).toBeVisible();
  const opened = page.waitForEvent("popup");
  await page.getByRole("tabpanel", { name: "Site" }).getByRole("button", { name: "Open in a new window" }).click();
  const outside = await opened;
  await expect(outside.getByRole("heading", { name: "The site of one" })).toBeVisible();
  expect(new URL(outside.url()).hostname).toMatch(/^[0-9a-f]{24}\.localhost$/);
  await outside.close();

  await page.getByRole("tab", { name: "Hostile" }).click();
  const attempts = page.frameLocator('iframe[title="Hostile"]').locator("#out");
  await expect(attempts).toContainText("done");
  expect((await attempts.textContent())!.split("\n")).toEqual([
    "document of the page: refused",
    "storage of the page: refused",
    "cookies: none",
    "wider cookie: none",
    "who is signed in: refused",
    "a deed: opaque",
    "frame of the page: refused",
    "the window: refused",
    "done",
  ]);
  await expect(page).toHaveURL(/\/plays\/[0-9a-f]{24}$/);
  expect((await page.request.get(`${told.url}/api/auth/me`)).status()).toBe(200); // the deed was not done
});

test("time, ports, shared terminals, commands for one's own computer", async ({ page, context, browser }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: told.url });
  const play = await desk(page);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  // An administrator's plays have no end by themselves.
  const limited = await page.request.post(`${told.url}/api/plays/${play}/actions`, { data: { action: "set_max_play_time", maxPlayTimeMinutes: 240 } });
  expect(limited.ok(), await limited.text()).toBe(true);
  await page.reload();
  const time = page.getByRole("button", { name: /^Time left/ });
  const hours = async () => Number((await time.getAttribute("aria-label"))!.match(/(\d+) h/)?.[1] ?? 0);
  const had = await hours();
  await time.click();
  await page.getByRole("menuitem", { name: "2 hours" }).click();
  await expect(page.getByText("2 hours more.", { exact: true })).toBeVisible();
  await expect.poll(hours).toBe(had + 2);

  // A port that listens is found, and opened to everybody.
  await page.getByRole("button", { name: "Expose port" }).click();
  const ports = page.getByRole("dialog", { name: "Exposed ports" });
  await ports.getByRole("button", { name: "Find listening ports" }).click();
  await ports.getByRole("button", { name: "one:80 HTTP" }).click();
  await ports.getByLabel("Open to").selectOption({ label: "everybody" });
  await ports.getByRole("button", { name: "Expose", exact: true }).click();
  const row = ports.getByRole("list", { name: "Exposed ports" }).getByRole("listitem").filter({ hasText: "everybody" });
  await expect(row).toContainText("one:80");
  await screens(page, "expose-port");
  await accessible(page);
  await row.getByRole("button", { name: "Copy the address of port 80" }).click();
  await expect.poll(clipboard).toMatch(/^http:\/\/[0-9a-f]{24}\.localhost:\d+/);
  const stranger = await (await browser.newContext()).newPage();
  await stranger.goto(await clipboard());
  await expect(stranger.getByRole("heading", { name: "The site of one" })).toBeVisible();
  await row.getByRole("button", { name: "Expose port 80 no more" }).click();
  await expect(row).toHaveCount(0);
  await stranger.reload(); // who is not signed in hears no more of it than of a private one
  await expect(stranger).toHaveURL(/\/login\?next=%2Fexposed%2F/);
  await ports.getByRole("button", { name: "Close", exact: true }).click();

  // A terminal for whoever has its address, and one for its owner.
  await page.getByRole("button", { name: "Share terminal" }).click();
  const shells = page.getByRole("dialog", { name: "Share a terminal" });
  await shells.getByLabel("Machine").selectOption("two");
  await shells.getByRole("button", { name: "Share", exact: true }).click();
  await expect(page.getByText("The terminal is shared, and its address is copied.", { exact: true })).toBeVisible();
  await screens(page, "share-terminal");
  await accessible(page);
  const address = await clipboard();
  await stranger.goto(address);
  await expect(stranger).toHaveTitle("root@two · Sandlot");
  const theirs = stranger.getByRole("region", { name: "Terminal of root on two" });
  await expect(theirs).toHaveAttribute("data-state", "open");
  const keyboard = stranger.keyboard;
  await theirs.getByRole("textbox").focus();
  await keyboard.type("mine=$((6 * 7)); echo shared-$mine\n");
  await expect(theirs.locator(".xterm-rows")).toContainText("shared-42");
  await screens(stranger, "shared-terminal");
  await accessible(stranger);
  await stranger.reload(); // the same shell
  await expect(theirs).toHaveAttribute("data-state", "open");
  await theirs.getByRole("textbox").focus();
  await keyboard.type("echo again-$mine\n");
  await expect(theirs.locator(".xterm-rows")).toContainText("again-42");
  await shells.getByLabel("Open to").selectOption({ label: "only me" });
  await shells.getByRole("button", { name: "Share", exact: true }).click();
  await expect.poll(clipboard).not.toBe(address);
  await stranger.goto(await clipboard());
  await expect(stranger).toHaveURL(/\/login\?next=/);
  await stranger.context().close();
  const own = await context.newPage();
  await own.goto(await clipboard());
  await expect(own.getByRole("region", { name: "Terminal of root on two" })).toHaveAttribute("data-state", "open");
  await expect(own.getByText("only you")).toBeVisible();
  await own.close();
  for (const left of [1, 0]) {
    await shells.getByRole("button", { name: "Share the terminal on two no more" }).first().click();
    await expect(shells.getByRole("list", { name: "Shared terminals" }).getByRole("listitem")).toHaveCount(left);
  }
  await shells.getByRole("button", { name: "Close", exact: true }).click();

  await page.getByRole("button", { name: "SSH", exact: true }).click();
  const ssh = page.getByRole("dialog", { name: "SSH" });
  await ssh.getByRole("button", { name: "Copy: A shell on two" }).click();
  await expect.poll(clipboard).toBe(`labctl ssh ${play} -m two`);
});

test("machines: their picture, links, consoles and what they use; each stopped and started alone", async ({ page }) => {
  const play = await desk(page);
  await terminal(page, "One");
  await page.getByRole("button", { name: "Machines", exact: true }).click();
  const panel = page.getByRole("complementary", { name: "Machines" });
  const picture = panel.getByRole("group", { name: /^Machines and networks: one on lan and back/ });
  const machine = (name: string, state: string) => picture.getByRole("button", { name: new RegExp(`^${name} 1 CPU · 192MiB, ${state}$`) });
  for (const name of ["one", "two", "five"]) await expect(machine(name, "running")).toBeVisible();
  await expect(panel.getByRole("img", { name: /^CPU over the last minutes, now \d+ %/ })).toBeVisible({ timeout: 60_000 });
  await expect(panel.getByRole("img", { name: /^Memory on the host over the last minutes, now \d+ MiB for \d+ MiB/ })).toBeVisible();
  await screens(page, "machines");
  await accessible(page);

  // A link that is down inside is seen outside.
  await shell(play, "two", "ip link set eth1 down");
  await expect(machine("two", "running, eth1 down")).toBeVisible({ timeout: 60_000 });
  await shell(play, "two", "ip link set eth1 up");
  await expect(machine("two", "running")).toBeVisible({ timeout: 60_000 });

  await machine("three", "running").click();
  const three = panel.getByRole("region", { name: "Machine three" });
  await three.getByRole("button", { name: "Terminal" }).click();
  const t: Terminal = await terminal(page, "three");
  await t.run("echo kept > /root/kept; sync; echo written-$?", "written-0");
  await three.getByRole("button", { name: "Console" }).click();
  const consoles = page.getByRole("dialog", { name: "Console of three" });
  await expect(consoles.locator("pre")).toContainText("labinit: boot");
  await screens(page, "console");
  await page.keyboard.press("Escape");

  await three.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("dialog", { name: "Stop three?" }).getByRole("button", { name: "Stop" }).click();
  await expect(machine("three", "stopped")).toBeVisible({ timeout: 120_000 });
  await (await terminal(page, "One")).run("echo others-go-$((1 + 1))n", "others-go-2n");
  await three.getByRole("button", { name: "Start" }).click();
  await expect(machine("three", "running")).toBeVisible({ timeout: 120_000 });
  await page.getByRole("tab", { name: "three", exact: true }).click();
  await t.ready(); // by itself
  await t.run("echo was-$(cat /root/kept)", "was-kept");

  const boot = () => shell(play, "three", "cat /proc/sys/kernel/random/boot_id").catch(() => "");
  const first = await boot();
  expect(first).not.toBe("");
  await three.getByRole("button", { name: "Reboot" }).click();
  await page.getByRole("dialog", { name: "Reboot three?" }).getByRole("button", { name: "Reboot" }).click();
  await expect.poll(async () => ["", first].includes(await boot()), { timeout: 120_000 }).toBe(false);
  await expect(machine("three", "running")).toBeVisible({ timeout: 120_000 });
  await three.getByRole("button", { name: "Console" }).click();
  await expect(consoles.getByLabel("Boot")).toContainText("(the last)");
  await page.keyboard.press("Escape");
});

test("a cut network, a labd that restarts and a session that ends cost no shell", async ({ page, watched }) => {
  watched.allowed.push(/WebSocket|ERR_|Failed to fetch/);
  await as(page, "boss");
  await desk(page);
  const one = await terminal(page, "One");
  await one.run("mark=$((7 * 6)); echo mark-$mark", "mark-42");
  await one.type("for i in $(seq 1 100); do echo tick-$i; sleep 0.03; done; echo the-end-$mark");
  await expect(one.rows).toContainText("tick-5");
  await control("people/cut");
  await expect(one.rows).toContainText("the-end-42", { timeout: 120_000 });
  await page.keyboard.press("Control+Shift+F"); // no line was lost or came twice
  await page.getByRole("textbox", { name: "Find in this terminal" }).fill("tick-77");
  await expect(page.getByRole("search")).toContainText("1 of 1");
  await page.keyboard.press("Escape");

  await control("people/stop");
  await expect(page.getByText("labd cannot be reached")).toBeVisible({ timeout: 60_000 });
  await screens(page, "play-away");
  await control("people/start");
  await expect(page.getByText("labd cannot be reached")).toHaveCount(0, { timeout: 60_000 });
  await one.ready();
  await one.run("clear; echo after-$mark", "after-42");
  await page.getByRole("tab", { name: "Site" }).click();
  await expect(page.frameLocator('iframe[title="Site"]').getByRole("heading", { name: "The site of one" })).toBeVisible();

  // The session ends while something is asked.
  await page.context().clearCookies({ name: "sandlot_session" });
  await page.getByRole("button", { name: "New terminal" }).first().click();
  await page.getByRole("menuitem", { name: "two", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Your session has ended" });
  await dialog.getByLabel("Password").fill(password);
  await dialog.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(dialog).toHaveCount(0);
  await (await terminal(page, "two")).run("echo goes-on-$((1 + 1))", "goes-on-2");
});
