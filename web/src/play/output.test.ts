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
  vi.advanceTimersByTime(100);
  shown();
  expect(bursts.join("")).toBe(["1", "2", "3", "4", "5"].map((m) => m + line).join(""));
  expect(ends.at(-1)).toBe(end);
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
