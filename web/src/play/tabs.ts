// Which tabs are open, in which pane, and which one is looked at; pure. A
// browser window keeps its own, so that loading the page again changes nothing.
import type { Play, Schemas, Tab } from "../api/client";
import { newSession } from "./frames";

export type Machine = NonNullable<Play["machines"]>[number];

/** The machines of a play; there is always one. */
export const machinesOf = (play: Play): Machine[] => play.machines ?? [];

export type Pane = "left" | "right";

export type OpenTab = {
  /** Of the manifest, or made up for what was opened by hand. */
  id: string;
  kind: "terminal" | "ide" | "http-port" | "web-page" | "kexp";
  name: string;
  pane: Pane;
  machine: string;
  user?: string;
  number?: number;
  access?: string;
  tls?: boolean;
  hostRewrite?: string;
  pathRewrite?: string;
  url?: string;
  /** Names the shell of a terminal; who knows it may go on with it. */
  session?: string;
};

export type Tabs = {
  open: OpenTab[];
  active: Record<Pane, string | undefined>;
  /** The left pane's share of the width, in percent. */
  share: number;
};

export type Change =
  | { do: "show"; id: string }
  | { do: "add"; tab: OpenTab }
  | { do: "close"; id: string }
  | { do: "move"; id: string; pane: Pane }
  | { do: "anew"; id: string }
  | { do: "share"; percent: number };

const kinds: OpenTab["kind"][] = ["terminal", "ide", "http-port", "web-page", "kexp"];

/** Where an image serves what it brings: docs/images.md. */
const broughtPorts: Partial<Record<OpenTab["kind"], number>> = { ide: 50062, kexp: 50063 };

/** Where it answers, if it does. */
export function broughtAt(kind: OpenTab["kind"], ports: Schemas["ScannedPort"][]): Pick<OpenTab, "machine" | "number" | "tls"> | undefined {
  const found = ports.find((p) => p.number === broughtPorts[kind]);
  return found && { machine: found.machine, number: found.number, tls: found.protocol === "HTTPS" };
}

/** What a tab without a name is called. */
const called: Record<OpenTab["kind"], string> = { terminal: "Terminal", ide: "IDE", "http-port": "Port", "web-page": "Page", kexp: "Kubernetes" };

/** The tabs of a play's manifest, as they stand before anybody has touched them. */
export function initial(play: Play): Tabs {
  const machines = machinesOf(play).map((m) => m.name);
  const first = machines[0] ?? "";
  let told: Tab[] = play.playground.tabs ?? [];
  if (told.length === 0) told = machinesOf(play).filter((m) => !m.noSSH).map((m) => ({ kind: "terminal", name: "", machine: m.name }));
  const open = told.map((t, i): OpenTab => {
    const kind = kinds.find((k) => k === t.kind) ?? "web-page";
    const machine = t.machine || first;
    return {
      id: t.id || `${kind}-${machine}-${i}`,
      kind,
      name: t.name || (kind === "terminal" ? machine : called[kind]),
      pane: t.pane === "right" ? "right" : "left",
      machine,
      number: t.number, access: t.access, tls: t.tls, hostRewrite: t.hostRewrite, pathRewrite: t.pathRewrite, url: t.url,
      session: kind === "terminal" ? newSession() : undefined,
    };
  });
  return settle({ open, active: { left: undefined, right: undefined }, share: 50 });
}

/** A new terminal beside those that there are. */
export function terminal(tabs: Tabs, machine: string, pane: Pane, user?: string): OpenTab {
  const names = new Set(tabs.open.map((t) => t.name));
  const base = user ? `${user}@${machine}` : machine;
  let name = base;
  for (let i = 2; names.has(name); i++) name = `${base} ${i}`;
  return { id: `t-${newSession()}`, kind: "terminal", name, pane, machine, user, session: newSession() };
}

/** Tabs of a pane, in order. */
export const inPane = (tabs: Tabs, pane: Pane) => tabs.open.filter((t) => t.pane === pane);

/** Not every image brings an IDE or a cluster: nobody should meet their absence first. */
const works = (t: OpenTab) => t.kind !== "ide" && t.kind !== "kexp";

/** Every pane looks at one of its own tabs, and there is no right one alone. */
function settle(tabs: Tabs): Tabs {
  let open = tabs.open;
  if (open.length > 0 && open.every((t) => t.pane === "right")) open = open.map((t) => ({ ...t, pane: "left" as const }));
  const look = (pane: Pane) => {
    const mine = open.filter((t) => t.pane === pane);
    const wanted = [tabs.active[pane], tabs.active[pane === "left" ? "right" : "left"]];
    return (mine.find((t) => t.id === wanted[0]) ?? mine.find((t) => t.id === wanted[1]) ?? mine.find(works) ?? mine[0])?.id;
  };
  return { ...tabs, open, active: { left: look("left"), right: look("right") } };
}

export function change(tabs: Tabs, c: Change): Tabs {
  switch (c.do) {
    case "show": {
      const tab = tabs.open.find((t) => t.id === c.id);
      return tab ? { ...tabs, active: { ...tabs.active, [tab.pane]: tab.id } } : tabs;
    }
    case "add":
      return settle({ ...tabs, open: [...tabs.open, c.tab], active: { ...tabs.active, [c.tab.pane]: c.tab.id } });
    case "close": {
      const tab = tabs.open.find((t) => t.id === c.id);
      if (!tab) return tabs;
      const mine = inPane(tabs, tab.pane);
      const at = mine.indexOf(tab);
      const next = (mine[at + 1] ?? mine[at - 1])?.id;
      const active = tabs.active[tab.pane] === tab.id ? { ...tabs.active, [tab.pane]: next } : tabs.active;
      return settle({ ...tabs, open: tabs.open.filter((t) => t !== tab), active });
    }
    case "move":
      return settle({
        ...tabs,
        open: tabs.open.map((t) => (t.id === c.id ? { ...t, pane: c.pane } : t)),
        active: { ...tabs.active, [c.pane]: c.id },
      });
    case "anew":
      return { ...tabs, open: tabs.open.map((t) => (t.id === c.id ? { ...t, session: newSession() } : t)) };
    case "share":
      return { ...tabs, share: Math.min(80, Math.max(20, c.percent)) };
  }
}

const key = (play: string) => `sandlot-tabs-${play}`;

/** What this window had open, if it is still of this play. */
export function restore(play: Play): Tabs {
  try {
    const kept = JSON.parse(sessionStorage.getItem(key(play.id)) ?? "null") as Tabs | null;
    const machines = new Set(machinesOf(play).map((m) => m.name));
    if (kept && Array.isArray(kept.open) && kept.open.every((t) => kinds.includes(t.kind) && machines.has(t.machine))) return settle(kept);
  } catch {
    // storage may be forbidden, or hold what an older page wrote
  }
  return initial(play);
}

export function store(play: string, tabs: Tabs) {
  try {
    sessionStorage.setItem(key(play), JSON.stringify(tabs));
  } catch {
    // then loading the page again opens the manifest's tabs
  }
}
