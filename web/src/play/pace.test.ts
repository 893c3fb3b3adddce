import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Pace } from "./pace";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const kib = (n: number) => new Uint8Array(n << 10);

test("little is shown at once, a flood in bursts, and in order", () => {
  const shown: number[] = [];
  const done: number[] = [];
  const pace = new Pace((bytes, then) => {
    shown.push(bytes.length >> 10);
    then();
  });
  for (const n of [1, 2, 14, 4, 5]) pace.write(kib(n), () => done.push(n));
  expect(shown).toEqual([1, 2, 14]);
  vi.advanceTimersByTime(30);
  expect(shown).toEqual([1, 2, 14, 4, 5]);
  pace.write(kib(8), () => {}); // the window has room
  pace.write(kib(3), () => {});
  expect(shown).toEqual([1, 2, 14, 4, 5, 8]);
  vi.advanceTimersByTime(30);
  expect(shown.at(-1)).toBe(3);
  vi.advanceTimersByTime(60);
  pace.write(kib(100), () => {});
  expect(shown.at(-1)).toBe(100);
  expect(done).toEqual([1, 2, 14, 4, 5]);
  expect(vi.getTimerCount()).toBe(1);
});

test("what waits when the terminal ends is forgotten", () => {
  const shown: number[] = [];
  const pace = new Pace((bytes) => void shown.push(bytes.length));
  pace.write(kib(16), () => {});
  pace.write(kib(1), () => {});
  pace.end();
  vi.advanceTimersByTime(100);
  expect(shown).toEqual([16 << 10]);
});
