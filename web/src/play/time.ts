// Durations as the API and people write them; pure.

/** Minutes of a Go duration like "2h30m0s". */
export function minutes(go: string): number {
  let total = 0;
  for (const [, n, unit] of go.matchAll(/([\d.]+)(h|ms|m|s)/g)) {
    total += Number(n) * ({ h: 60, m: 1, s: 1 / 60, ms: 0 }[unit!] ?? 0);
  }
  return Math.round(total);
}

/** What is left, as short as it says enough: "3 h 05 min", "12 min", "40 s". */
export function left(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min`;
  const h = Math.floor(m / 60);
  return h < 48 ? `${h} h ${String(m % 60).padStart(2, "0")} min` : `${Math.floor(h / 24)} days`;
}
