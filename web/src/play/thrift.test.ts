import { Terminal } from "@xterm/xterm";
import { expect, test } from "vitest";
import { reuseLines, writer } from "./thrift";

const shown = (t: Terminal, text: string) => new Promise<void>((done) => t.write(text, done));

/** All that is in a terminal: text, wraps, and each cell's colours and underlines. */
function all(t: Terminal) {
  const buffer = t.buffer.active;
  return Array.from({ length: buffer.length }, (_, at) => {
    const line = buffer.getLine(at)!;
    const cells = Array.from({ length: t.cols }, (_, x) => line.getCell(x)!).map((c) => [c.getChars(), c.getWidth(), c.getFgColor(), c.getBgColor(), c.isBold(), c.isUnderline()].join());
    return { text: line.translateToString(), wrapped: line.isWrapped, cells };
  });
}

/** The lines of a terminal's own, with what it throws away. */
const insideLines = (t: Terminal) => {
  const { lines } = (t as unknown as { _core: { buffer: { lines: { length: number; get: (at: number) => { _combined: object } } } } })._core.buffer;
  return Array.from({ length: lines.length }, (_, at) => lines.get(at));
};

const flood = Array.from({ length: 300 }, (_, i) => [
  `${i} plain\r\n`,
  `${i} long ${"and longer ".repeat(10)}\r\n`,
  `${i} e\u0301 \u{1f469}\u200d\u{1f680} 漢字\r\n`,
  `${i} \x1b[1;31;44mcoloured\x1b[K\x1b[0m \x1b[4:3;58:5:2mcurly\x1b[0m \x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\\r\n`,
]).flat().join("");

// The order matters: what is done to lines is done to those of all terminals.
test("lines that are used again hold what new ones would", async () => {
  const options = { cols: 60, rows: 10, scrollback: 50, allowProposedApi: true };
  const plain = new Terminal(options);
  await shown(plain, flood);
  const t = new Terminal(options);
  expect(reuseLines(t)).toBe(true);
  await shown(t, flood);
  expect(all(t)).toEqual(all(plain));
});

test("lines that are used again keep their objects", async () => {
  const t = new Terminal({ cols: 60, rows: 10, scrollback: 50 });
  expect(reuseLines(t)).toBe(true);
  await shown(t, "plain\r\n".repeat(60));
  const before = new Set(insideLines(t).map((l) => l._combined));
  await shown(t, "plain\r\n".repeat(60));
  expect(insideLines(t).filter((l) => !before.has(l._combined))).toEqual([]);
});

test("an xterm.js of another kind is left as it is", () => {
  const line = { _data: new Uint32Array(3), _combined: {}, _extendedAttrs: {}, length: 1, isWrapped: false, _cache: "" };
  const other = { _core: { buffer: { lines: { get: () => line } } } } as unknown as Terminal;
  expect(reuseLines(other)).toBe(false);
  expect(reuseLines({} as Terminal)).toBe(false);
});

test("the scrollbar moves once for what is written at once, and at once when nothing is", async () => {
  const t = new Terminal({ cols: 60, rows: 10 });
  const insides = t as unknown as { _core: { _viewport: object; element: object } };
  const moved: (number | undefined)[] = [];
  const viewport = { _sync: (at?: number) => void moved.push(at) };
  insides._core._viewport = viewport;
  insides._core.element = { isConnected: true };
  t.onLineFeed(() => viewport._sync(1));
  const write = writer(t);
  await new Promise<void>((done) => write(new TextEncoder().encode("a\r\n".repeat(100)), done));
  expect(moved).toEqual([undefined]);
  viewport._sync(7);
  expect(moved).toEqual([undefined, 7]);
  await new Promise<void>((done) => write(new TextEncoder().encode("no line"), done));
  expect(moved).toEqual([undefined, 7]);
});
