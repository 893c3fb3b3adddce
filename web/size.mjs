// Weighs what a browser loads before it shows the catalog: the page, its
// scripts and styles as brotli, and the one font that its text needs. Fails
// above the bound of 300 KB.
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const dist = "../internal/web/dist/app";
const bound = 300 * 1000;
const index = readFileSync(join(dist, "index.html"), "utf8");
const named = [...index.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((m) => m[1]);
const fonts = readdirSync(join(dist, "assets")).filter((f) => /^inter-latin-wght-normal/.test(f)).map((f) => `assets/${f}`);
if (fonts.length !== 1 || named.length < 4) throw new Error("the page is not made as this script thinks");

let total = 0;
for (const name of ["index.html", ...named, ...fonts]) {
  let size;
  try {
    size = statSync(join(dist, name + ".br")).size;
  } catch {
    size = statSync(join(dist, name)).size;
  }
  total += size;
  console.log(`${String(size).padStart(8)}  ${name}`);
}
console.log(`${String(total).padStart(8)}  first load, compressed; at most ${bound}`);
if (total > bound) process.exit(1);
