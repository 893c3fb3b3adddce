// What the editor makes of problems and drafts; pure.
import type { Problem } from "../api/client";

export type Mark = { from: number; to: number; severity: "error" | "warning"; message: string };

/** A problem as a stretch of text: from its column to the end of its line, or
 * the whole line; problems without a place are at the beginning. */
export function marks(text: string, problems: Problem[]): Mark[] {
  const starts = [0];
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) starts.push(i + 1);
  return problems.map((p) => {
    const line = Math.min(Math.max(p.line ?? 1, 1), starts.length) - 1;
    const begin = starts[line]!;
    const end = (starts[line + 1] ?? text.length + 1) - 1;
    let from = begin + Math.max((p.column ?? 1) - 1, 0);
    if (from >= end) from = begin;
    return { from, to: Math.max(end, from), severity: p.severity === "warning" ? "warning" : "error", message: wordsOf(p) };
  });
}

/** The problem as a sentence, without its place. */
export const wordsOf = (p: Problem) => [p.path && `${p.path}: `, p.message, p.fix && ` (${p.fix})`].filter(Boolean).join("");

/** "2 errors and 1 warning"; "" if there is nothing. */
export function tally(problems: Problem[]): string {
  const warnings = problems.filter((p) => p.severity === "warning").length;
  const errors = problems.length - warnings;
  const count = (n: number, word: string) => (n ? [`${n} ${word}${n === 1 ? "" : "s"}`] : []);
  return [...count(errors, "error"), ...count(warnings, "warning")].join(" and ");
}
