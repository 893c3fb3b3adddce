import { expect, test } from "vitest";
import { Frame, ack, input, newSession, resize } from "./frames";

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
