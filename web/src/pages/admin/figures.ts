// What the administration shows as numbers; pure.
import type { Schemas } from "../../api/client";

export type Sample = Schemas["HostSample"];

export const bytesText = (n: number) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${n >= 100 || i < 2 ? Math.round(n) : Math.round(n * 10) / 10} ${units[i]}`;
};

export const percent = (part: number) => `${Math.round(part * 100)} %`;

/** Points of a line in a box, the newest at its right edge; what was not
 * measured yet stays empty at the left. */
export function line(values: number[], most: number, slots: number, width: number, height: number): [number, number][] {
  const shown = values.slice(-slots);
  const step = width / Math.max(1, slots - 1);
  return shown.map((v, i) => [width - (shown.length - 1 - i) * step, height - (most > 0 ? Math.min(1, Math.max(0, v / most)) : 0) * height]);
}

/** How full something is: calm, nearly, or full. */
export const tone = (part: number): "warn" | "bad" | undefined => (part >= 0.95 ? "bad" : part >= 0.8 ? "warn" : undefined);

const stages: Record<string, string> = {
  resolve: "asks the registry", download: "downloads", import: "stores layers", build: "builds", flatten: "unpacks", format: "makes the filesystem", check: "checks it", fetch: "fetches packages", cancelling: "is being cancelled",
};

/** What a job does, as a word or two. */
export const stageText = (stage: string | undefined) => (stage ? stages[stage] ?? stage : "");
