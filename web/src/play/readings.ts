// What readings of a play's usage mean; pure.
import type { MachineStatus, Schemas } from "../api/client";
import type { MachineIn } from "../topology/layout";

export type MachineUsage = Schemas["MachineUsage"];

/** One moment of a machine: CPUs busy, and bytes of memory. */
export type Point = { at: number; cpus: number; memory: number; limit: number };

const keep = 90; // points: three minutes

/** One more reading; CPU time is a difference, so the first gives no point. */
export function grow(history: Point[], before: MachineUsage | undefined, now: MachineUsage, at: number): Point[] {
  if (!before) return history;
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  const used = now.cpuSeconds - before.cpuSeconds;
  // A restarted machine counts from zero again.
  if (!(seconds > 0) || used < 0) return history;
  return [...history, { at, cpus: used / seconds, memory: now.memoryBytes, limit: now.memoryLimit }].slice(-keep);
}

/** Interfaces that carry nothing: of machines that do not run, and those that are down inside. */
export function linksDown(machines: MachineIn[], statuses: Map<string, MachineStatus>, usage: MachineUsage[] | undefined): Set<string> {
  const down = new Set<string>();
  for (const m of machines) {
    const told = usage?.find((u) => u.machine === m.name)?.links;
    m.interfaces.forEach((_, i) => {
      const eth = `eth${i}`;
      const link = told?.find((l) => l.name === eth);
      if (statuses.get(m.name)?.state !== "RUNNING" || link?.up === false) down.add(`${m.name}/${eth}`);
    });
  }
  return down;
}
