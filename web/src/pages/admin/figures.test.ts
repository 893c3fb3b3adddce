import { expect, test } from "vitest";
import { bytesText, line, stageText, tone } from "./figures";

test("sizes", () => {
  expect([0, 1023, 1536, 5 * 2 ** 20, 1.5 * 2 ** 30, 250 * 2 ** 30, 3 * 2 ** 40, 5000 * 2 ** 40].map(bytesText)).toEqual(["0 B", "1023 B", "2 KiB", "5 MiB", "1.5 GiB", "250 GiB", "3 TiB", "5000 TiB"]);
});

test("a line ends at the right, whatever there is of it", () => {
  expect(line([0, 5, 10], 10, 5, 100, 50)).toEqual([[50, 50], [75, 25], [100, 0]]);
  expect(line([1, 2, 3], 3, 2, 10, 9).map(([x]) => x)).toEqual([0, 10]);
  expect(line([5, 50], 10, 2, 10, 10)).toEqual([[0, 5], [10, 0]]); // never outside
  expect(line([], 0, 180, 10, 10)).toEqual([]);
});

test("tones and words", () => {
  expect([0.1, 0.8, 0.95].map(tone)).toEqual([undefined, "warn", "bad"]);
  expect([undefined, "", "flatten", "other"].map(stageText)).toEqual(["", "", "unpacks", "other"]);
});
