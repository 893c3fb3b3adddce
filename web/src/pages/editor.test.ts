import { expect, test } from "vitest";
import { marks, tally, wordsOf } from "./editor";

const text = "kind: playground\ntitle: x\nplayground:\n";
const at = (line?: number, column?: number, severity?: string) => ({ path: "title", message: "is short", line, column, severity });

test("marks stand where the problems are", () => {
  const all = marks(text, [at(2, 8), at(2), at(undefined), at(3, 99), at(99, 1), at(4, 1, "warning")]);
  expect(all.map((m) => text.slice(m.from, m.to))).toEqual(["x", "title: x", "kind: playground", "playground:", "", ""]);
  expect(all.map((m) => m.severity)).toEqual(["error", "error", "error", "error", "error", "warning"]);
  for (const m of all) expect(m.from >= 0 && m.to <= text.length && m.from <= m.to).toBe(true);
});

test("an empty text has room for problems, too", () => {
  expect(marks("", [at(1, 1)])).toEqual([{ from: 0, to: 0, severity: "error", message: "title: is short" }]);
});

test("words", () => {
  expect(wordsOf({ path: "", message: "is wrong", fix: "mend it" })).toBe("is wrong (mend it)");
  expect([tally([]), tally([at(1)]), tally([at(1), at(1), at(1, 1, "warning")])]).toEqual(["", "1 error", "2 errors and 1 warning"]);
});
