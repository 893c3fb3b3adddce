import { describe, expect, test } from "vitest";
import type { Schemas } from "../api/client";
import { bounds, browserName, sessionName, shares } from "./account";
import { timeText } from "./start";

const limits = { machineCpus: 2, machineMemory: "4GiB", playCpus: 5, playMemory: "8GiB", plays: 2, storedPlays: 3, playTime: "1h0m0s", longestPlayTime: "4h0m0s", poolSpace: "120GiB", playgrounds: 20 };
const none = { machineCpus: 0, machineMemory: "", playCpus: 0, playMemory: "", plays: 0, storedPlays: 0, playTime: "", longestPlayTime: "", poolSpace: "", playgrounds: 0 };
const plan = (l: typeof limits, use: Partial<Schemas["PlanUse"]> = {}) => ({ name: "free", limits: l, use: { plays: 0, storedPlays: 0, poolSpace: "0", playgrounds: 0, ...use } }) as Schemas["UserPlan"];

test("times of plans", () => {
  expect(timeText("1h0m0s")).toBe("1 h");
  expect(timeText("1h30m0s")).toBe("1 h 30 min");
  expect(timeText("45m0s")).toBe("45 min");
  expect(timeText("")).toBe("");
});

describe("shares", () => {
  test("what is used up is full", () => {
    const all = shares(plan(limits, { plays: 2, storedPlays: 1, poolSpace: "30GiB", playgrounds: 20 }));
    expect(all.map((s) => [s.text, s.full])).toEqual([["2 of 2", true], ["1 of 3", false], ["30 GiB of 120 GiB", false], ["20 of 20", true]]);
  });
  test("no limit is never full", () => {
    expect(shares(plan(none, { plays: 9, poolSpace: "2TiB" })).map((s) => [s.text, s.full])).toEqual([["9, no limit", false], ["0, no limit", false], ["2048 GiB, no limit", false], ["0, no limit", false]]);
  });
});

test("bounds of a play", () => {
  expect(bounds(limits).map(([, text]) => text)).toEqual(["2 CPUs, 4 GiB", "5 CPUs, 8 GiB", "for 1 h at first", "to 4 h"]);
  expect(bounds(none).map(([, text]) => text)).toEqual(["as many CPUs as the host has, what the host can spare", "any number of CPUs, what the host can spare", "without an end", "without an end"]);
});

describe("sessions", () => {
  test("browsers are called as people call them", () => {
    expect(browserName("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")).toBe("Firefox on Linux");
    expect(browserName("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15")).toBe("Safari on macOS");
    expect(browserName("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126.0")).toBe("Edge on Windows");
    expect(browserName("")).toBe("A browser");
    expect(browserName("curl/8")).toBe("curl/8");
  });
  test("clients as they call themselves", () => {
    expect(sessionName({ kind: "cli", about: "labctl/1 from here from 10.0.0.7" })).toEqual({ name: "labctl/1 from here", from: "10.0.0.7" });
    expect(sessionName({ kind: "cli", about: "labd credentials, on the host" })).toEqual({ name: "labd credentials, on the host", from: "" });
  });
});
