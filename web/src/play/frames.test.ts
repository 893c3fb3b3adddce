import { expect, test } from "vitest";
import { Frame, ack, input, isAnswer, newSession, resize } from "./frames";

test("input is cut into messages that labd takes, and is never an end of input", () => {
  expect(input("")).toEqual([]);
  expect(input("é")).toEqual([new Uint8Array([Frame.stdin, 0xc3, 0xa9])]);
  const parts = input("x".repeat(150_000));
  expect(parts.map((p) => p.length)).toEqual([65537, 65537, 150_000 - 2 * 65536 + 1]);
});

test("sizes and acknowledgements are as labd reads them", () => {
  expect(new TextDecoder().decode(resize(40, 120))).toBe('\x03{"rows":40,"cols":120}');
  expect(ack(0x0102030405)).toEqual(new Uint8Array([Frame.ack, 0, 0, 0, 1, 2, 3, 4, 5]));
});

test("sessions are what labd takes, and differ", () => {
  expect(newSession()).toMatch(/^[0-9a-f]{32}$/);
  expect(newSession()).not.toBe(newSession());
});

test("what a terminal answers by itself is told from what is typed", () => {
  const answers = ["\x1b[?1;2c", "\x1b[>0;276;0c", "\x1b[0n", "\x1b[24;80R", "\x1b[?24;80R", "\x1b[?2026;2$y", "\x1b[8;24;80t", "\x1bP1$r0m\x1b\\", "\x1b]4;0;rgb:0/0/0\x1b\\"];
  expect(answers.filter((a) => !isAnswer(a))).toEqual([]);
  const typed = ["c", "ls\r", "\x1b", "\x1b[A", "\x1bOP", "\x1b[3~", "\x1b[1;5C", "\x1bP", "\x1b]", "\x1bc", "\x1b[200~\x1b[0n\x1b[201~", "\x1b[I"];
  expect(typed.filter(isAnswer)).toEqual([]);
});
