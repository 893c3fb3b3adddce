import { expect, test } from "vitest";
import type { Play } from "../api/client";
import { broughtAt, change, inPane, initial, terminal } from "./tabs";

const play = (tabs: unknown[], machines = ["m1", "m2"]) =>
  ({ id: "p", machines: machines.map((name) => ({ name })), playground: { tabs } }) as unknown as Play;
const names = (tabs: ReturnType<typeof initial>, pane: "left" | "right") => inPane(tabs, pane).map((t) => t.name);

test("tabs are those of the manifest, in its panes", () => {
  const tabs = initial(play([
    { kind: "terminal", name: "", machine: "m2", id: "a" },
    { kind: "http-port", name: "Site", number: 80, pane: "right", id: "b" },
    { kind: "ide", name: "", id: "c" },
  ]));
  expect(names(tabs, "left")).toEqual(["m2", "IDE"]);
  expect(names(tabs, "right")).toEqual(["Site"]);
  expect(tabs.active).toEqual({ left: "a", right: "b" });
  expect(tabs.open[1]?.machine).toBe("m1");
});

test("without tabs every machine has a terminal, and a right pane never stands alone", () => {
  expect(names(initial(play([])), "left")).toEqual(["m1", "m2"]);
  expect(names(initial(play([{ kind: "terminal", name: "x", pane: "right" }])), "left")).toEqual(["x"]);
});

test("a terminal is looked at before an editor that the image may not have", () => {
  const tabs = initial(play([{ kind: "ide", name: "", id: "e" }, { kind: "terminal", name: "", machine: "m1", id: "t" }]));
  expect(names(tabs, "left")).toEqual(["IDE", "m1"]);
  expect(tabs.active.left).toBe("t");
  expect(initial(play([{ kind: "ide", name: "", id: "e" }])).active.left).toBe("e");
});

test("closing looks at the neighbour; moving makes and ends the right pane", () => {
  let tabs = initial(play([]));
  const [one, two] = tabs.open.map((t) => t.id);
  tabs = change(tabs, { do: "show", id: two! });
  tabs = change(tabs, { do: "move", id: two!, pane: "right" });
  expect(tabs.active).toEqual({ left: one, right: two });
  tabs = change(tabs, { do: "close", id: one! });
  expect(names(tabs, "left")).toEqual(["m2"]);
  expect(tabs.active).toEqual({ left: two, right: undefined });
  expect(change(tabs, { do: "close", id: two! }).open).toEqual([]);
});

test("terminals have names and shells of their own", () => {
  let tabs = initial(play([]));
  tabs = change(tabs, { do: "add", tab: terminal(tabs, "m1", "left") });
  tabs = change(tabs, { do: "add", tab: terminal(tabs, "m1", "left", "root") });
  expect(names(tabs, "left")).toEqual(["m1", "m2", "m1 2", "root@m1"]);
  expect(new Set(tabs.open.map((t) => t.session)).size).toBe(4);
  const before = tabs.open[0]!.session;
  expect(change(tabs, { do: "anew", id: tabs.open[0]!.id }).open[0]!.session).not.toBe(before);
  expect(change(tabs, { do: "share", percent: 99 }).share).toBe(80);
});

test("what an image brings is found at its port, on whichever machine it is", () => {
  const ports = [
    { machine: "one", number: 80, protocol: "HTTP" },
    { machine: "two", number: 50062, protocol: "HTTPS" },
    { machine: "three", number: 50063, protocol: "HTTP" },
  ];
  expect(broughtAt("ide", ports)).toEqual({ machine: "two", number: 50062, tls: true });
  expect(broughtAt("kexp", ports)).toEqual({ machine: "three", number: 50063, tls: false });
  expect(broughtAt("ide", ports.slice(0, 1))).toBeUndefined();
  expect(broughtAt("terminal", ports)).toBeUndefined();
});
