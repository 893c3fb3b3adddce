// What the start form says and sends; pure.
import type { Playground, Schemas } from "../api/client";

export type Condition = Schemas["InitConditionValue"];

/** Why a value cannot be chosen, as labd would say it; null if it can. labd has
 * the last word: its regular expressions are Go's. */
export function refuse(c: Condition, value: string): string | null {
  if (value === "") return c.nullable ? null : "This is needed.";
  if (c.options?.length && !c.options.includes(value)) return `Choose one of ${c.options.join(", ")}.`;
  if (c.validationRegex) {
    let regex: RegExp;
    try {
      regex = new RegExp(c.validationRegex, "u");
    } catch {
      return null;
    }
    if (!regex.test(value)) return `Write what matches ${c.validationRegex}`;
  }
  return null;
}

/** What is chosen before anybody has. */
export function defaults(conditions: Condition[]): Record<string, string> {
  return Object.fromEntries(conditions.map((c) => [c.key, c.default ?? (c.nullable || !c.options?.length ? "" : c.options[0]!)]));
}

export type Choices = { backend: string; kernel: string };

/** The body of the start: machines are sent only where something of them is chosen. */
export function startBody(p: Playground, values: Record<string, string>, choices: Choices, consent: boolean): Schemas["StartPlay"] {
  const body: Schemas["StartPlay"] = { playground: p.name, safetyDisclaimerConsent: consent };
  if (Object.keys(values).length > 0) body.initConditions = values;
  if (choices.backend || choices.kernel) {
    body.machines = (p.machines ?? []).map((m) => ({
      ...m,
      ...(choices.backend ? { backend: choices.backend } : {}),
      ...(choices.kernel ? { kernel: { source: choices.kernel } } : {}),
    }));
  }
  return body;
}

const units: Record<string, number> = { KiB: 1 / 1024, MiB: 1, GiB: 1024, TiB: 1024 * 1024, K: 1 / 1024, M: 1, G: 1024, T: 1024 * 1024 };

/** "1.5GiB" in MiB; 0 if it is no size. */
export function mebibytes(size: string | undefined): number {
  const match = /^([\d.]+)\s*([KMGT]i?B?)?$/.exec(size ?? "");
  if (!match) return 0;
  const unit = (match[2] ?? "MiB").replace(/^([KMGT])B$/, "$1iB");
  return Number(match[1]) * (units[unit] ?? 1);
}

export const sizeText = (mib: number) => (mib >= 1024 ? `${Math.round((mib / 1024) * 10) / 10} GiB` : `${Math.round(mib)} MiB`);

export type Takes = { machines: number; cpus: number; memory: number; drives: number };

/** What a start takes: machines without a figure get the least that labd gives. Sizes are MiB. */
export function cost(p: Playground): Takes {
  const machines = p.machines ?? [];
  return {
    machines: machines.length,
    drives: machines.reduce((n, m) => n + (m.drives ?? []).reduce((d, x) => d + mebibytes(x.size), 0), 0),
    cpus: machines.reduce((n, m) => n + (m.resources?.cpuCount ?? 1), 0),
    memory: machines.reduce((n, m) => n + mebibytes(m.resources?.ramSize), 0),
  };
}

/** What a start leaves of the plan, and what stands in its way. */
export function leaves(p: Playground, takes: Takes, plan: Schemas["UserPlan"]): { lines: string[]; refused: string[]; scaled: boolean } {
  const { limits, use } = plan;
  const lines: string[] = [];
  const refused: string[] = [];
  if (limits.plays) {
    const left = limits.plays - use.plays;
    if (left <= 0) refused.push(`${use.plays} of your plays run, and your plan allows ${limits.plays} at once.`);
    else lines.push(`1 of the ${left} ${left === 1 ? "play" : "plays"} that you may still run`);
  }
  const room = mebibytes(limits.poolSpace);
  if (room && takes.drives) {
    const left = room - mebibytes(use.poolSpace);
    if (takes.drives > left) refused.push(`Its drives need ${sizeText(takes.drives)}, and ${sizeText(Math.max(0, left))} of your ${sizeText(room)} are left.`);
    else lines.push(`${sizeText(takes.drives)} of the ${sizeText(left)} left for drives`);
  }
  if (limits.playTime) lines.push(`time: ${timeText(limits.playTime)}${limits.longestPlayTime && limits.longestPlayTime !== limits.playTime ? `, up to ${timeText(limits.longestPlayTime)}` : ""}`);
  const over = (have: number, most: number) => most > 0 && have > most;
  const scaled = over(takes.cpus, limits.playCpus) || over(takes.memory, mebibytes(limits.playMemory)) ||
    (p.machines ?? []).some((m) => over(m.resources?.cpuCount ?? 0, limits.machineCpus) || over(mebibytes(m.resources?.ramSize), mebibytes(limits.machineMemory)));
  return { lines, refused, scaled };
}

/** "1h30m0s" as people say it; "" for none. */
export function timeText(duration: string): string {
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/.exec(duration);
  if (!match || !duration) return duration;
  const parts = [[match[1], "h"], [match[2], "min"], [match[3], "s"]].filter(([n]) => Number(n) > 0);
  return parts.map(([n, unit]) => `${n} ${unit}`).join(" ");
}

const kinds: Record<string, string> = { terminal: "Terminal", ide: "IDE", kexp: "Kubernetes Explorer", "http-port": "Web application", "web-page": "Web page" };

export const tabKind = (kind: string) => kinds[kind] ?? kind;
