// How far a play has come; pure.
import type { MachineStatus, Play, PlayTask, TaskDetails } from "../api/client";
import { stateOf } from "../api/fold";

export type StepState = "waiting" | "active" | "done" | "failed";
export type Step = { name: string; label: string; state: StepState; ms: number | null };

const labels: [string, string][] = [["Volume", "Drives"], ["Network", "Network"], ["Boot", "Boot"], ["Ready", "SSH"]];

/** The steps of a machine with what each took; the one under way counts up to now. */
export function stepsOf(machine: MachineStatus | undefined, began: number, now: number, noSSH = false): Step[] {
  const failed = machine?.state === "FAILED";
  let last = began;
  let open = true; // the first step that is not done is under way
  return labels
    .filter(([name]) => !(noSSH && name === "Ready"))
    .map(([name, label]) => {
      const c = machine?.conditions?.find((k) => k.name === name);
      const at = c?.lastTransitionAt ? Date.parse(c.lastTransitionAt) : NaN;
      if (c?.status === "True") {
        // A restart keeps what was there before: that took nothing now.
        const ms = Number.isNaN(at) || at < began ? 0 : Math.max(0, at - last);
        if (at > last) last = at;
        return { name, label, state: "done", ms };
      }
      if (!open) return { name, label, state: "waiting", ms: null };
      open = false;
      return failed ? { name, label, state: "failed", ms: null } : { name, label, state: "active", ms: Math.max(0, now - last) };
    });
}

/** When this start began: the last time that the play was made or started. */
export function beganAt(play: Play): number {
  const events = play.status?.stateEvents ?? [];
  const begin = events.findLast((e) => e.state === "CREATED") ?? events.findLast((e) => e.state === "STARTING");
  const again = events.findLast((e) => e.state === "STARTING");
  const at = Math.max(Date.parse(begin?.at ?? "") || 0, events.some((e) => e.state === "STOPPED" || e.state === "FAILED") ? Date.parse(again?.at ?? "") || 0 : 0);
  return at || Date.parse(play.createdAt);
}

export type Phase = "starting" | "tasks" | "ready" | "task-failed" | "failed" | "stopping" | "stopped" | "destroying" | "destroyed";

/** Where a play stands, for the page. */
export function phaseOf(play: Play): Phase {
  switch (stateOf(play)) {
    case "FAILED":
      return "failed";
    case "STOPPING":
      return "stopping";
    case "STOPPED":
      return "stopped";
    case "DESTROYING":
      return "destroying";
    case "DESTROYED":
      return "destroyed";
    case "RUNNING": {
      const tasks = initTasks(play);
      if (tasks.some((t) => t.status === 35)) return "task-failed";
      return tasks.some((t) => t.status > 0 && t.status < 40) ? "tasks" : "ready";
    }
  }
  return initTasks(play).some((t) => t.status === 35) ? "task-failed" : "starting";
}

export const initTasks = (play: Play): PlayTask[] => Object.values(play.tasks ?? {}).filter((t) => t.init && !t.helper);

export const taskStates: Record<number, [StepState, string]> = {
  0: ["waiting", "waits"], 10: ["waiting", "waits for its machine"], 20: ["waiting", "waits for others"], 30: ["active", "runs"], 35: ["failed", "failed"], 40: ["done", "done"],
};

/** Tasks in the order in which they can run: what a task needs comes before it. */
export function ordered(tasks: PlayTask[], needs: Record<string, string[] | undefined>): PlayTask[] {
  const left = new Map(tasks.map((t) => [t.name, t]));
  const out: PlayTask[] = [];
  const take = (name: string) => {
    const task = left.get(name);
    if (!task) return;
    left.delete(name);
    for (const n of needs[name] ?? []) take(n);
    out.push(task);
  };
  for (const t of [...tasks].sort((a, b) => a.name.localeCompare(b.name))) take(t.name);
  return out;
}

/** What a task took so far. */
export function taskMs(status: number, d: TaskDetails | undefined, now: number): number | null {
  if (status === 30) return d?.lastRunAt ? Math.max(0, now - Date.parse(d.lastRunAt)) : null;
  return status >= 35 && d?.lastDurationMs !== undefined ? d.lastDurationMs : null;
}

export function duration(ms: number | null): string {
  if (ms === null) return "";
  if (ms < 950) return `${(ms / 1000).toFixed(1)} s`;
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}

/** Time left, roughly: "3 h 20 min". */
export function timeLeft(ms: number): string {
  const min = Math.ceil(ms / 60_000);
  if (min < 60) return `${min} min`;
  if (min < 48 * 60) return min % 60 ? `${Math.floor(min / 60)} h ${min % 60} min` : `${min / 60} h`;
  return `${Math.round(min / 1440)} days`;
}

/** What consoles write besides text: colours and cursor movements. */
// eslint-disable-next-line no-control-regex
const escapes = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

export const plainText = (text: string) => text.replace(escapes, "").replace(/\r+\n/g, "\n").replace(/[^\n\r]*\r(?!\n)/g, "").replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "");
