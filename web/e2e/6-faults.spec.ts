// What machines, networks and sheer amounts can do to the page.
import { desk, machines, shell, terminal } from "./desk";
import { growth } from "./memory";
import { expect, test, told } from "./story";

test("what a terminal prints changes nothing but the terminal", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: told.url });
  const play = await desk(page);
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  const esc = "\\033";
  await shell(play, "two", `cat > /tmp/evil.sh <<'EOF'
printf '${esc}]0;pwned title\\007${esc}]2;pwned\\007${esc}]52;c;cHduZWQ=\\007${esc}]52;c;?\\007'
printf '${esc}]8;;javascript:window.pwned=1\\007press-me${esc}]8;;\\007\\n'
printf '${esc}[8;1;1t${esc}[3;0;0t${esc}[2t${esc}]50;huge\\007${esc}[?1049h${esc}[999999999b${esc}[999999999@${esc}[?1049l'
printf '${esc}[21t${esc}]4;0;?\\007${esc}P$q"p${esc}\\\\${esc}_<script>window.pwned=1</script>${esc}\\\\'
printf '${esc}]1337;File=inline=1:QUJD\\007<img src=x onerror=window.pwned=1>\\n'
EOF`);
  const two = await terminal(page, "Two");
  await two.run("clear; sh /tmp/evil.sh; echo over-$((40 + 2))", "over-42");
  await expect(two.rows).toContainText("<img src=x onerror=window.pwned=1>");
  await two.page.keyboard.press("Control+C"); // what it asked for may have been answered
  const line = (await two.rows.locator("> div").filter({ hasText: /^press-me/ }).last().boundingBox())!;
  await page.mouse.move(line.x + 20, line.y + line.height / 2, { steps: 3 });
  await page.mouse.click(line.x + 20, line.y + line.height / 2);
  await two.run("clear; echo fine-$((40 + 2)); stty size", "fine-42");
  await expect(page).toHaveTitle("The desk · Sandlot");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("mine");
  expect(await page.evaluate(() => (window as unknown as { pwned?: number }).pwned)).toBeUndefined();
  expect(context.pages()).toHaveLength(1);
  await expect(two.rows).not.toContainText("pwned title");
});

test("five machines with ten terminals each", async ({ page }) => {
  const play = await desk(page);
  // As if they had been opened by hand, one after another.
  await page.evaluate(
    ([id, names]) => {
      const open = (names as string[]).flatMap((machine) =>
        Array.from({ length: 10 }, (_, i) => ({ id: `${machine}-${i}`, kind: "terminal", name: `${machine} ${i + 1}`, pane: i % 2 ? "right" : "left", machine, session: `many-${machine}-${i}-0123456789` })),
      );
      sessionStorage.setItem(`sandlot-tabs-${id as string}`, JSON.stringify({ open, active: { left: "one-0", right: "one-1" }, share: 50 }));
    },
    [play, machines] as const,
  );
  await page.reload();
  await expect(page.getByRole("tab")).toHaveCount(50);
  const open = page.locator('[role=tabpanel] [role=region][data-state="open"]');
  await expect(open).toHaveCount(50, { timeout: 120_000 });
  for (const name of machines) {
    for (const n of [1, 10]) {
      const t = await terminal(page, `${name} ${n}`);
      await t.run("echo at-$(hostname)-$((40 + 2))", `at-${name}-42`);
    }
  }
  // All their shells end with their tabs.
  for (let left = 49; left >= 0; left--) await page.getByTitle(/^Close /).first().dispatchEvent("click");
  await expect(page.getByRole("heading", { name: "No tab is open" })).toBeVisible();
  for (const name of machines) await expect.poll(() => shell(play, name, "ps | grep -c '[0-9] -sh' || true")).toBe("0");
  await page.evaluate((id) => sessionStorage.removeItem(`sandlot-tabs-${id}`), play);
});

test("a flood of output: the page answers, and it can be stopped", async ({ page }) => {
  await desk(page);
  const one = await terminal(page, "One");
  await one.type("yes a line of a flood that does not end by itself; echo never-$((40 + 2))");
  await expect(one.rows).toContainText("a line of a flood");
  // While it comes: another terminal, a dialog, the panel.
  const two = await terminal(page, "Two");
  await two.run("clear; echo beside-$((40 + 2))", "beside-42");
  await page.getByRole("button", { name: "SSH", exact: true }).click();
  await expect(page.getByRole("dialog", { name: "SSH" })).toBeVisible();
  await page.keyboard.press("Escape");
  await page.getByRole("tab", { name: "One", exact: true }).click();
  await one.box.getByRole("textbox").focus();
  await page.keyboard.press("Control+C");
  await one.run("echo stopped-$((40 + 2))", "stopped-42", 60_000);
  await expect(one.rows).not.toContainText("never-42");
});

test("fifty megabytes shown cost labd and the page no more than 64 each", async ({ page }) => {
  const play = await desk(page);
  await shell(play, "one", "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c 50000000 > /tmp/big");
  const one = await terminal(page, "One");
  const grown = await growth(page, async (look) => {
    await one.type("cat /tmp/big; echo shown-$((40 + 2))");
    await expect.poll(async () => (await look(), one.rows.textContent()), { timeout: 240_000, intervals: [250] }).toContain("shown-42");
  });
  console.log(`50 MB in a terminal: at most ${grown.labd} MiB more in labd, ${grown.page} MiB in the page, ${grown.held} of them no garbage`);
  expect(grown.labd).toBeLessThanOrEqual(64);
  expect(grown.page).toBeLessThanOrEqual(64);
  await shell(play, "one", "rm /tmp/big");
});
