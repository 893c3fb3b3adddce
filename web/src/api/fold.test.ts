import { describe, expect, test } from "vitest";
import type { Play } from "./client";
import { isOver, merge, pause, stateOf } from "./fold";

const play = {
  id: "0123456789abcdef01234567",
  tasks: { a: { name: "a", init: true, helper: false, status: 30, version: 3 } },
  status: { factoryId: "", machines: [], stateEvents: [{ state: "STARTING", at: "" }] },
} as unknown as Play;

describe("merge", () => {
  test("takes a status as a whole", () => {
    const status = { factoryId: "", machines: [], stateEvents: [{ state: "RUNNING", at: "" }] };
    expect(stateOf(merge(play, { kind: "status", status }))).toBe("RUNNING");
    expect(stateOf(play)).toBe("STARTING");
  });
  test("takes newer tasks and not older ones", () => {
    const task = (version: number, status: number) => ({ name: "a", init: true, helper: false, status, version });
    expect(merge(play, { kind: "task", task: task(4, 40) }).tasks["a"]?.status).toBe(40);
    expect(merge(play, { kind: "task", task: task(2, 10) }).tasks["a"]?.status).toBe(30);
  });
  test("takes tasks that it did not know", () => {
    const merged = merge(play, { kind: "task", task: { name: "b", init: true, helper: false, status: 10, version: 1 } });
    expect(Object.keys(merged.tasks)).toEqual(["a", "b"]);
  });
  test("ignores what it does not know", () => {
    expect(merge(play, { kind: "news" } as never)).toBe(play);
  });
});

test("a play without events has no state", () => {
  expect(stateOf(undefined)).toBe("");
  expect(isOver(stateOf({ ...play, status: null }))).toBe(false);
});

test("attempts are quick first, and patient later", () => {
  expect([0, 1, 2, 3, 10].map(pause)).toEqual([250, 500, 1000, 2000, 8000]);
});
