// A play that stories share: five machines with a userland, tabs of every kind,
// and on the first machine a web server with a site and a hostile page.
import { writeFileSync } from "node:fs";
import { type Page, as, control, expect, told } from "./story";

export const machines = ["one", "two", "three", "four", "five"];

/** What a page of an application tries on who shows it in a frame; each attempt says what came of it. */
const hostile = `<!doctype html><title>Hostile</title><pre id=out></pre><script>
const out = [];
const attempt = async (name, what) => {
  let got;
  try { got = String(await what()); } catch (e) { got = "refused"; }
  out.push(name + ": " + got);
  document.getElementById("out").textContent = out.join("\\n");
};
const ui = location.origin.replace(/\\/\\/[^.]+\\./, "//");
(async () => {
  await attempt("document of the page", () => parent.document.title);
  await attempt("storage of the page", () => parent.localStorage.length);
  await attempt("cookies", () => document.cookie || "none");
  await attempt("wider cookie", () => { document.cookie = "sandlot_session=evil; domain=localhost"; document.cookie = "wide=1; domain=" + location.hostname.split(".").slice(1).join("."); return document.cookie || "none"; });
  await attempt("who is signed in", async () => (await fetch(ui + "/api/auth/me", { credentials: "include" })).text());
  await attempt("a deed", async () => (await fetch(ui + "/api/auth/signout", { method: "POST", credentials: "include", mode: "no-cors" })).type);
  await attempt("frame of the page", () => new Promise((done) => { const f = document.createElement("iframe"); f.onload = () => { try { done(f.contentDocument && f.contentDocument.title ? "shown" : "refused"); } catch (e) { done("refused"); } }; f.src = ui + "/plays"; document.body.append(f); }));
  await attempt("the window", () => { top.location.href = "about:blank#taken"; return "taken"; });
  out.push("done");
  document.getElementById("out").textContent = out.join("\\n");
})();
</script>`;

const manifest = `kind: playground
title: The desk
description: Five machines and every kind of tab.
categories: [linux]
playground:
  networks:
    - {name: lan, subnet: 10.0.0.0/24}
    - {name: back, subnet: 10.0.1.0/24, private: true}
  machines:${machines
    .map(
      (name, i) => `
    - name: ${name}
      users: [{name: root, default: true, welcome: '-'}]
      kernel: {source: "6.1"}
      drives: [{source: userland, mount: /, size: 1GiB}]
      network: {interfaces: [{network: lan}${i < 2 ? ", {network: back}" : ""}]}
      resources: {cpuCount: 1, ramSize: 192MiB}${i ? "" : `
      startupFiles:
        - {path: /www/index.html, content: "<!doctype html><html lang=en><title>Site</title><h1>The site of one</h1><a href=/cgi-bin/uptime>uptime</a>"}
        - {path: /www/cgi-bin/uptime, mode: "755", content: ${JSON.stringify("#!/bin/sh\necho Content-Type: text/plain\necho\ncat /proc/uptime\n")}}
        - {path: /www/hostile.html, content: ${JSON.stringify(hostile)}}`}`,
    )
    .join("")}
  tabs:
    - {kind: terminal, machine: one, name: One, id: one}
    - {kind: terminal, machine: two, name: Two, id: two}
    - {kind: http-port, machine: one, number: 80, name: Site, id: site, pane: right}
    - {kind: http-port, machine: one, number: 80, name: Hostile, id: hostile, pane: right, pathRewrite: /hostile.html}
    - {kind: web-page, name: Manual, url: "https://example.org/manual", id: manual}
    - {kind: ide, machine: one, name: Editor, id: editor}
    - {kind: kexp, name: Cluster, id: cluster}
  accessControl: {canList: [owner], canRead: [owner], canStart: [owner]}
`;

/** Opens the desk's page, and starts the play if none has yet. */
export async function desk(page: Page): Promise<string> {
  await as(page, "boss");
  const id = await running(page);
  await page.goto(`${told.url}/plays/${id}`);
  await expect(page.getByRole("heading", { name: "The desk", exact: true })).toBeVisible({ timeout: 200_000 });
  return id;
}

async function running(page: Page): Promise<string> {
  type Listed = { id: string; title: string; status: { stateEvents: { state: string }[] } };
  const plays = (await (await page.request.get(`${told.url}/api/plays`)).json()) as Listed[];
  const there = plays.find((p) => p.title === "The desk" && p.status.stateEvents.at(-1)?.state === "RUNNING");
  if (there) return there.id;
  const file = `${told.out}/desk.yaml`;
  writeFileSync(file, manifest);
  const name = await control("people/labctl", "playground", "create", "desk", "--base", "flexbox", "-f", file, "-q");
  const id = await control("people/labctl", "playground", "start", name, "-q");
  await shell(id, "one", "httpd -p 80 -h /www");
  return id;
}

/** What a command says on a machine, without a browser. */
export const shell = (play: string, machine: string, command: string) => control("people/labctl", "terminal", play, "-m", machine, "--", command);

/** A terminal on the page, by the name of its tab. */
export class Terminal {
  constructor(
    readonly page: Page,
    readonly name: string,
  ) {}

  get box() {
    return this.page.getByRole("region", { name: `Terminal ${this.name}`, exact: true });
  }

  get rows() {
    return this.box.locator(".xterm-rows");
  }

  async ready() {
    await expect(this.box).toHaveAttribute("data-state", "open", { timeout: 60_000 });
    await expect(this.rows).toContainText("#");
    await this.box.getByRole("textbox", { name: "Terminal input" }).focus();
  }

  async type(line: string) {
    await this.box.getByRole("textbox", { name: "Terminal input" }).focus();
    await this.page.keyboard.type(line);
    await this.page.keyboard.press("Enter");
  }

  /** Types a line and waits for words that its echo does not have. */
  async run(line: string, words: string | RegExp, timeout?: number) {
    await this.type(line);
    await expect(this.rows).toContainText(words, { timeout });
  }
}

/** Puts the mouse on a line of a terminal, until it has found the link that stands there. */
export async function hover(t: Terminal, line: { x: number; y: number; height: number }) {
  await expect(async () => {
    await t.page.mouse.move(line.x + 200, line.y + line.height / 2);
    await t.page.mouse.move(line.x + 60, line.y + line.height / 2, { steps: 3 });
    await expect(t.box.locator(".xterm-cursor-pointer")).toHaveCount(1, { timeout: 2000 });
  }).toPass();
}

/** A terminal of the desk, in front. */
export async function terminal(page: Page, name: string): Promise<Terminal> {
  await page.getByRole("tab", { name, exact: true }).click();
  const t = new Terminal(page, name);
  await t.ready();
  return t;
}
