import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Output, release } from "./output";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

const utf8 = new TextEncoder();

/** A screen that shows when it is told to. */
function screen() {
  const bursts: string[] = [];
  const ends: number[] = [];
  let done: (() => void) | undefined;
  const output = new Output({
    write: (bytes, then) => {
      bursts.push(new TextDecoder().decode(bytes));
      done = then;
    },
    shown: (end) => ends.push(end),
  });
  const shown = () => {
    const then = done!;
    done = undefined;
    then();
  };
  return { output, bursts, ends, shown };
}

test("a little is shown at once, and what comes meanwhile after it, in order", () => {
  const { output, bursts, ends, shown } = screen();
  output.add(utf8.encode("a"), 1);
  output.add(utf8.encode("b"), 2);
  output.add(utf8.encode("c"), 3);
  expect(bursts).toEqual(["a"]);
  expect(output.waiting).toBe(2);
  shown();
  expect(bursts).toEqual(["a", "bc"]);
  shown();
  expect(ends).toEqual([1, 3]);
  expect(output.waiting).toBe(0);
});

test("a flood is shown in bursts, whole, and its buffers are not overwritten while they are shown", () => {
  const { output, bursts, ends, shown } = screen();
  const line = "x".repeat(10_000);
  let end = 0;
  const add = (mark: string) => output.add(utf8.encode(mark + line), (end += 1 + line.length));
  add("1"); // shown at once
  add("2");
  shown(); // so is this: not much has been shown yet
  shown();
  add("3");
  add("4");
  expect(bursts.map((b) => b[0])).toEqual(["1", "2"]);
  vi.advanceTimersByTime(99);
  expect(bursts).toHaveLength(2);
  vi.advanceTimersByTime(1);
  expect(bursts).toHaveLength(3);
  expect(bursts[2]).toBe(`3${line}4${line}`);
  add("5");
  shown();
  vi.advanceTimersByTime(125);
  shown();
  expect(bursts.join("")).toBe(["1", "2", "3", "4", "5"].map((m) => m + line).join(""));
  expect(ends.at(-1)).toBe(end);
});

/** Adds ten kilobytes each ten milliseconds, all of which is shown in no time; the milliseconds when something was shown. */
function pour({ output, bursts, shown }: ReturnType<typeof screen>, ms: number) {
  const began = performance.now();
  let end = 0;
  const times: number[] = [];
  while (performance.now() - began < ms) {
    output.add(new Uint8Array(10_000), (end += 10_000));
    vi.advanceTimersByTime(10);
    if (bursts.splice(0).length === 0) continue;
    times.push(performance.now() - began);
    shown();
  }
  return times;
}

test("the longer a flood lasts, the rarer are its bursts; then a few keys are shown at once again", () => {
  const s = screen();
  const times = pour(s, 9000);
  const gaps = times.slice(1).map((at, i) => at - times[i]!);
  expect(gaps.filter((gap) => gap < 100).length).toBeLessThan(4); // the first sixteen kilobytes
  expect(gaps.filter((gap) => gap >= 100 && gap < 200).length).toBeGreaterThan(2);
  for (const gap of gaps.slice(-4)) expect(gap).toBeGreaterThanOrEqual(380);
  for (const gap of gaps) expect(gap).toBeLessThanOrEqual(510);
  vi.advanceTimersByTime(2000);
  s.shown(); // the end of the flood
  s.output.add(utf8.encode("key"), 1);
  expect(s.bursts.at(-1)).toBe("key");
});

test("much is shown before its time", () => {
  const { output, bursts, shown } = screen();
  output.add(new Uint8Array(20_000), 20_000);
  shown();
  output.add(new Uint8Array(300_000), 320_000);
  expect(bursts).toHaveLength(1);
  output.add(new Uint8Array(100_000), 420_000);
  expect(bursts[1]).toHaveLength(400_000);
});

test("who types in a flood sees at once what waits", () => {
  const { output, bursts, shown } = screen();
  output.add(new Uint8Array(20_000), 20_000);
  shown();
  output.add(utf8.encode("waits"), 20_005);
  expect(bursts).toHaveLength(1);
  output.hurry();
  expect(bursts[1]).toBe("waits");
  shown();
  vi.advanceTimersByTime(1000);
  expect(bursts).toHaveLength(2);
});

test("what was closed shows nothing more", () => {
  const { output, bursts, shown } = screen();
  output.add(utf8.encode("a"), 1);
  output.add(utf8.encode("b"), 2);
  output.close();
  shown();
  expect(bursts).toEqual(["a"]);
});

test("memory that is given back is gone", () => {
  const buffers = [new ArrayBuffer(10), new ArrayBuffer(20)];
  release(buffers);
  expect(buffers.map((b) => b.byteLength)).toEqual([0, 0]);
});

test("messages are given back when there are many", () => {
  const { output } = screen();
  const messages = Array.from({ length: 5 }, () => new ArrayBuffer(4095));
  messages.forEach((m) => output.spent(m));
  expect(messages.map((m) => m.byteLength)).toEqual([0, 0, 0, 0, 0]);
});
