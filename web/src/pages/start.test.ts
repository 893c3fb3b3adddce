import { describe, expect, test } from "vitest";
import type { Playground, Schemas } from "../api/client";
import { cost, defaults, leaves, mebibytes, refuse, sizeText, startBody } from "./start";

describe("refuse", () => {
  test("what is needed, what may stay empty", () => {
    expect(refuse({ key: "k" }, "")).toMatch(/needed/);
    expect(refuse({ key: "k", nullable: true }, "")).toBeNull();
  });
  test("options", () => {
    expect(refuse({ key: "k", options: ["a", "b"] }, "c")).toBe("Choose one of a, b.");
    expect(refuse({ key: "k", options: ["a", "b"] }, "b")).toBeNull();
  });
  test("regular expressions, and those that only Go knows", () => {
    expect(refuse({ key: "k", validationRegex: "^[a-z]+$" }, "A1")).toMatch(/matches/);
    expect(refuse({ key: "k", validationRegex: "^[a-z]+$" }, "abc")).toBeNull();
    expect(refuse({ key: "k", validationRegex: "(?i:abc)\\z[[:word:]](?P<x>" }, "abc")).toBeNull();
  });
});

test("defaults", () => {
  expect(defaults([{ key: "a", default: "x" }, { key: "b", options: ["1", "2"] }, { key: "c", nullable: true, options: ["1"] }, { key: "d" }])).toEqual({ a: "x", b: "1", c: "", d: "" });
});

test("sizes", () => {
  expect([mebibytes("2GiB"), mebibytes("512MiB"), mebibytes("4G"), mebibytes(undefined), mebibytes("lots")]).toEqual([2048, 512, 4096, 0, 0]);
  expect([sizeText(512), sizeText(1536), sizeText(4096)]).toEqual(["512 MiB", "1.5 GiB", "4 GiB"]);
});

const p = { name: "p", owner: "", machines: [{ name: "a", resources: { cpuCount: 2, ramSize: "1GiB" }, kernel: { source: "5.10" } }, { name: "b", drives: [{ size: "1GiB" }] }] } as Playground;

test("a start without choices sends no machines", () => {
  expect(startBody(p, {}, { backend: "", kernel: "" }, false)).toEqual({ playground: "p", safetyDisclaimerConsent: false });
});

test("choices go to every machine, and change nothing else", () => {
  const body = startBody(p, { k: "v" }, { backend: "", kernel: "6.1" }, true);
  expect(body.initConditions).toEqual({ k: "v" });
  expect(body.machines).toEqual([{ ...p.machines![0], kernel: { source: "6.1" } }, { ...p.machines![1], kernel: { source: "6.1" } }]);
});

test("cost", () => expect(cost(p)).toMatchObject({ machines: 2, cpus: 3, memory: 1024 }));

describe("leaves", () => {
  const plan = (limits: Partial<Schemas["PlanLimits"]>, use: Partial<Schemas["PlanUse"]>) =>
    ({ name: "free", limits: { machineCpus: 0, machineMemory: "", playCpus: 0, playMemory: "", plays: 0, storedPlays: 0, playTime: "", longestPlayTime: "", poolSpace: "", playgrounds: 0, ...limits }, use: { plays: 0, storedPlays: 0, poolSpace: "0", playgrounds: 0, ...use } }) as Schemas["UserPlan"];
  const p = { name: "x", machines: [{ name: "a", drives: [{ size: "30GiB" }, {}], resources: { cpuCount: 4, ramSize: "2GiB" } }] } as unknown as Playground;
  const takes = cost(p);
  test("no limits leave everything", () => {
    expect(takes.drives).toBe(30 * 1024);
    expect(leaves(p, takes, plan({}, { plays: 7 }))).toEqual({ lines: [], refused: [], scaled: false });
  });
  test("what is left, and the time", () => {
    expect(leaves(p, takes, plan({ plays: 2, poolSpace: "120GiB", playTime: "1h0m0s", longestPlayTime: "4h0m0s" }, { plays: 1, poolSpace: "40GiB" }))).toEqual({
      lines: ["1 of the 1 play that you may still run", "30 GiB of the 80 GiB left for drives", "time: 1 h, up to 4 h"], refused: [], scaled: false,
    });
  });
  test("what is used up stands in the way", () => {
    const { refused, lines } = leaves(p, takes, plan({ plays: 2, poolSpace: "60GiB" }, { plays: 2, poolSpace: "40GiB" }));
    expect(refused).toEqual(["2 of your plays run, and your plan allows 2 at once.", "Its drives need 30 GiB, and 20 GiB of your 60 GiB are left."]);
    expect(lines).toEqual([]);
  });
  test("machines above the plan are scaled down", () => {
    expect(leaves(p, takes, plan({ machineCpus: 2 }, {})).scaled).toBe(true);
    expect(leaves(p, takes, plan({ playMemory: "1GiB" }, {})).scaled).toBe(true);
    expect(leaves(p, takes, plan({ machineCpus: 4, machineMemory: "2GiB" }, {})).scaled).toBe(false);
  });
});
