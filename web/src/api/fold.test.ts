import { describe, expect, test } from "vitest";
import type { Job, Play } from "./client";
import { endedSince, isOpen, isOver, latest, merge, mergeJobs, pause, stateOf } from "./fold";

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

describe("latest", () => {
  const of = (version: number, ...states: string[]) => ({
    ...play,
    status: { factoryId: "", machines: [], stateEvents: states.map((s) => ({ state: s.split(" ")[0], at: s.split(" ")[1] })) },
    tasks: { a: { ...play.tasks["a"]!, version } },
  }) as unknown as Play;
  const shown = (p: Play) => [stateOf(p), p.tasks["a"]?.version];
  test("keeps what was heard after labd replied", () => {
    const kept = latest(of(4, "CREATED 1", "STARTING 2", "RUNNING 3"), { ...of(3, "CREATED 1", "STARTING 2"), title: "new" });
    expect([kept.title, ...shown(kept)]).toEqual(["new", "RUNNING", 4]);
  });
  test("takes what labd replied after that", () => {
    const known = of(3, "CREATED 1", "RUNNING 3");
    expect(shown(latest(known, of(4, "CREATED 1", "RUNNING 3", "STOPPED 4")))).toEqual(["STOPPED", 4]);
    // Histories are cut at their beginning, and clocks are set back.
    expect(shown(latest(known, of(4, "RUNNING 3", "STOPPED 2")))).toEqual(["STOPPED", 4]);
    expect(shown(latest(known, of(3, "DESTROYED 0")))).toEqual(["DESTROYED", 3]);
  });
  test("takes what is of another play, and what is the first", () => {
    const other = { ...play, id: "f".repeat(24) };
    expect(latest(of(9, "RUNNING 3"), other)).toBe(other);
    expect(latest(undefined, play)).toBe(play);
    expect(shown(latest(of(3, "RUNNING 3"), { ...of(3), status: null } as Play))).toEqual(["", 3]);
  });
});

describe("jobs", () => {
  const job = (id: string, state: string) => ({ id, state, kind: "build", name: id, done: 0, total: 0, lines: [], by: "root", createdAt: "" }) as Job;
  const list = [job("b", "waiting"), job("a", "running")];
  const states = (jobs: Job[]) => jobs.map((j) => j.id + " " + j.state);
  test("one that changes stays where it is, a new one stands first", () => {
    expect(states(mergeJobs(list, { kind: "job", job: job("a", "done") }))).toEqual(["b waiting", "a done"]);
    expect(states(mergeJobs(list, { kind: "job", job: job("c", "waiting") }))).toEqual(["c waiting", "b waiting", "a running"]);
  });
  test("all of them take the place of those before", () => {
    expect(states(mergeJobs(list, { kind: "jobs", jobs: [job("a", "failed")] }))).toEqual(["a failed"]);
    expect(mergeJobs(list, { kind: "news" } as never)).toBe(list);
  });
  test("end when they are not open any more", () => {
    expect(list.map(isOpen)).toEqual([true, true]);
    expect(endedSince(list, list)).toBe(false);
    expect(endedSince(list, [job("b", "running"), job("a", "done")])).toBe(true);
    expect(endedSince([job("a", "done")], [])).toBe(false);
    expect(endedSince(list, [])).toBe(true);
  });
});
