import { describe, expect, test } from "vitest";
import type { MachineStatus, Play, PlayTask } from "../api/client";
import { beganAt, duration, ordered, phaseOf, plainText, stepsOf, taskMs, timeLeft } from "./starting";

const t0 = Date.parse("2026-01-01T00:00:00.000Z");
const at = (s: number) => new Date(t0 + s * 1000).toISOString();
const machine = (state: string, ...done: [string, number][]) =>
  ({ name: "m", state, conditions: ["Volume", "Network", "Boot", "Ready"].map((name) => {
    const d = done.find(([n]) => n === name);
    return { name, status: d ? "True" : "False", ...(d ? { lastTransitionAt: at(d[1]) } : {}) };
  }) }) as MachineStatus;

describe("stepsOf", () => {
  test("each step takes what passed since the one before", () => {
    const steps = stepsOf(machine("STARTING", ["Volume", 1], ["Network", 1.5]), t0, t0 + 9500);
    expect(steps.map((s) => [s.label, s.state, s.ms])).toEqual([["Drives", "done", 1000], ["Network", "done", 500], ["Boot", "active", 8000], ["SSH", "waiting", null]]);
  });
  test("a failed machine failed at its first open step", () => {
    expect(stepsOf(machine("FAILED", ["Volume", 1]), t0, t0 + 5000).map((s) => s.state)).toEqual(["done", "failed", "waiting", "waiting"]);
  });
  test("nothing known yet", () => {
    expect(stepsOf(undefined, t0, t0 + 100).map((s) => s.state)).toEqual(["active", "waiting", "waiting", "waiting"]);
  });
  test("machines without SSH have no such step", () => {
    expect(stepsOf(machine("STARTING"), t0, t0, true).map((s) => s.label)).toEqual(["Drives", "Network", "Boot"]);
  });
  test("what an earlier start left took nothing", () => {
    expect(stepsOf(machine("STARTING", ["Volume", -60]), t0, t0 + 1000)[0]!.ms).toBe(0);
  });
});

const play = (states: [string, number][], tasks: Record<string, Partial<PlayTask>> = {}) =>
  ({ id: "x", createdAt: at(0), status: { stateEvents: states.map(([state, s]) => ({ state, at: at(s) })), machines: [] }, tasks: Object.fromEntries(Object.entries(tasks).map(([name, t]) => [name, { name, init: true, helper: false, version: 1, status: 0, ...t }])) }) as unknown as Play;

test("a start begins when the play was made, a restart when it began again", () => {
  expect(beganAt(play([["CREATED", 1], ["STARTING", 2]]))).toBe(t0 + 1000);
  expect(beganAt(play([["CREATED", 1], ["STARTING", 2], ["RUNNING", 9], ["STOPPING", 50], ["STOPPED", 60], ["STARTING", 70]]))).toBe(t0 + 70_000);
});

test("phases", () => {
  expect(phaseOf(play([]))).toBe("starting");
  expect(phaseOf(play([["RUNNING", 1]]))).toBe("ready");
  expect(phaseOf(play([["RUNNING", 1]], { a: { status: 40 }, b: { status: 30 } }))).toBe("tasks");
  expect(phaseOf(play([["RUNNING", 1]], { a: { status: 40 }, b: { status: 30, init: false } }))).toBe("ready");
  expect(phaseOf(play([["RUNNING", 1]], { a: { status: 35 }, b: { status: 20 } }))).toBe("task-failed");
  expect(phaseOf(play([["FAILED", 1]]))).toBe("failed");
  expect(phaseOf(play([["STOPPED", 1]]))).toBe("stopped");
});

test("what a task needs comes before it, also in a circle", () => {
  const t = (name: string) => ({ name }) as PlayTask;
  expect(ordered([t("a"), t("b"), t("c")], { a: ["c"], b: [] }).map((x) => x.name)).toEqual(["c", "a", "b"]);
  expect(ordered([t("a"), t("b")], { a: ["b"], b: ["a"] })).toHaveLength(2);
});

test("times", () => {
  expect([duration(null), duration(420), duration(12_300), duration(61_000)]).toEqual(["", "0.4 s", "12 s", "1 min 1 s"]);
  expect([timeLeft(59_000), timeLeft(3_600_000), timeLeft(12_000_000), timeLeft(5 * 86_400_000)]).toEqual(["1 min", "1 h", "3 h 20 min", "5 days"]);
  expect(taskMs(30, { lastRunAt: at(0) } as never, t0 + 700)).toBe(700);
  expect(taskMs(40, { lastDurationMs: 5 } as never, t0)).toBe(5);
  expect(taskMs(20, undefined, t0)).toBeNull();
});

test("consoles become text", () => {
  expect(plainText("\u001b[1;32mok\u001b[0m\r\nload 1%\rload 99%\n\u001b]0;title\u0007x\u0007")).toBe("ok\nload 99%\nx");
});
