// What the account's pages say of plans, sessions and tokens; pure.
import type { Schemas } from "../api/client";
import { mebibytes, sizeText, timeText } from "./start";

type UserPlan = Schemas["UserPlan"];

/** One limit of a plan and what is used of it; a limit of 0 is none. */
export type Share = { name: string; used: number; limit: number; text: string; full: boolean };

/** What counts against the plan, with what is left of each. */
export function shares(plan: UserPlan): Share[] {
  const count = (name: string, used: number, limit: number): Share => ({
    name, used, limit, full: limit > 0 && used >= limit, text: limit ? `${used} of ${limit}` : `${used}, no limit`,
  });
  const room = mebibytes(plan.limits.poolSpace);
  const taken = mebibytes(plan.use.poolSpace);
  return [
    count("Plays that run", plan.use.plays, plan.limits.plays),
    count("Stopped or kept plays", plan.use.storedPlays, plan.limits.storedPlays),
    { name: "Drives, as promised", used: taken, limit: room, full: room > 0 && taken >= room, text: room ? `${sizeText(taken)} of ${sizeText(room)}` : `${sizeText(taken)}, no limit` },
    count("Playgrounds of your own", plan.use.playgrounds, plan.limits.playgrounds),
  ];
}

/** What a single play may have, as rows of a list. */
export function bounds(limits: UserPlan["limits"]): [string, string][] {
  const cpus = (n: number) => (n ? `${n} ${n === 1 ? "CPU" : "CPUs"}` : "as many CPUs as the host has");
  const memory = (size: string) => (size ? sizeText(mebibytes(size)) : "what the host can spare");
  return [
    ["A machine", `${cpus(limits.machineCpus)}, ${memory(limits.machineMemory)}`],
    ["All machines of a play", `${limits.playCpus ? cpus(limits.playCpus) : "any number of CPUs"}, ${memory(limits.playMemory)}`],
    ["A play runs", limits.playTime ? `for ${timeText(limits.playTime)} at first` : "without an end"],
    ["It can be extended", limits.longestPlayTime ? `to ${timeText(limits.longestPlayTime)}` : "without an end"],
  ];
}

/** What a session says of itself: the program or browser, and where it is. */
export function sessionName(s: { kind: string; about: string }): { name: string; from: string } {
  const at = s.about.lastIndexOf(" from ");
  const agent = at >= 0 ? s.about.slice(0, at) : s.about;
  return { name: s.kind === "browser" ? browserName(agent) : agent || "A client", from: at >= 0 ? s.about.slice(at + 6) : "" };
}

const browsers: [RegExp, string][] = [[/\bEdg\//, "Edge"], [/\bOPR\//, "Opera"], [/\bFirefox\//, "Firefox"], [/\b(?:Headless)?Chrome\//, "Chrome"], [/\bSafari\//, "Safari"]];
const systems: [RegExp, string][] = [[/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Windows/, "Windows"], [/Mac OS X/, "macOS"], [/CrOS/, "ChromeOS"], [/Linux/, "Linux"]];

/** "Firefox on Linux" of a user agent; what is not known stays as it is. */
export function browserName(agent: string): string {
  const browser = browsers.find(([r]) => r.test(agent))?.[1];
  const system = systems.find(([r]) => r.test(agent))?.[1];
  if (!browser) return agent || "A browser";
  return system ? `${browser} on ${system}` : browser;
}

/** The scopes that open something, and what they open. */
export const scopes: [string, string][] = [
  ["account:read", "see the account, its plan and its tokens"],
  ["account:write", "change preferences and revoke tokens"],
  ["playground:read", "see playgrounds and plays"],
  ["playground:write", "start, enter, change and remove them"],
];

export const moment = (at: string) => (at ? new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "");
export const day = (at: string) => (at ? new Date(at).toLocaleDateString([], { dateStyle: "medium" }) : "");
