// What the catalog shows of all that there is; pure.
import type { Playground } from "../api/client";

export type Shelf = "all" | "official" | "mine" | "community";

export const shelves: [Shelf, string][] = [["all", "All"], ["official", "Official"], ["mine", "Mine"], ["community", "Community"]];

export const shelfOf = (p: Playground, me: string | undefined): Exclude<Shelf, "all"> =>
  p.owner === "" ? "official" : p.owner === me ? "mine" : "community";

/** Categories in use, the most used first. */
export function categoriesOf(all: Playground[]): string[] {
  const counts = new Map<string, number>();
  for (const p of all) for (const c of p.categories ?? []) counts.set(c, (counts.get(c) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([c]) => c);
}

/** All words must occur; those that match in the title come first. */
export function find(all: Playground[], words: string, shelf: Shelf, category: string, me: string | undefined): Playground[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const score = (p: Playground) => {
    const title = `${p.title ?? ""} ${p.name}`.toLowerCase();
    const rest = `${p.description ?? ""} ${(p.categories ?? []).join(" ")}`.toLowerCase();
    let sum = 0;
    for (const w of wanted) {
      if (title.includes(w)) sum += 2;
      else if (rest.includes(w)) sum += 1;
      else return -1;
    }
    return sum;
  };
  return all
    .filter((p) => (shelf === "all" || shelfOf(p, me) === shelf) && (!category || (p.categories ?? []).includes(category)))
    .map((p, i) => ({ p, i, s: score(p) }))
    .filter((x) => x.s >= 0)
    .sort((a, b) => b.s - a.s || a.i - b.i)
    .map((x) => x.p);
}

/** A cover that can be shown: pictures in the page itself, never a request to
 * another server. */
export const shownCover = (cover: string | undefined) => (cover && /^data:image\/(png|jpeg|gif|webp|avif|svg\+xml)[;,]/i.test(cover) ? cover : undefined);

/** A hue for what has no cover, the same each time. */
export function hue(name: string): number {
  let h = 7;
  for (const c of name) h = (h * 31 + c.codePointAt(0)!) % 360;
  return h;
}
