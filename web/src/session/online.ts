// Whether labd answers. Calls report what they met; while it is away, this asks
// by itself, ever more rarely, so that the page returns without a hand.
const listeners = new Set<() => void>();
const pauses = [500, 1000, 2000, 4000, 8000];

let away = false;
let timer: ReturnType<typeof setTimeout> | undefined;

export const isAway = () => away;

export function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export function reached() {
  if (!away) return;
  away = false;
  clearTimeout(timer);
  tell();
}

export function unreached() {
  if (away) return;
  away = true;
  tell();
  probe(0);
}

function probe(attempt: number) {
  timer = setTimeout(async () => {
    try {
      // A proxy may answer for a labd that is not there: only its own words count.
      const reply = await fetch("/readyz", { cache: "no-store" });
      if (reply.ok && reply.headers.get("Content-Type")?.includes("json")) return reached();
    } catch {
      // still away
    }
    if (away) probe(attempt + 1);
  }, pauses[Math.min(attempt, pauses.length - 1)]);
}

function tell() {
  for (const listener of listeners) listener();
}

if (typeof window !== "undefined") {
  window.addEventListener("offline", unreached);
  window.addEventListener("online", () => {
    if (!away) return;
    clearTimeout(timer);
    probe(0);
  });
}
