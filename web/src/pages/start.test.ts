import { describe, expect, test } from "vitest";
import type { Playground } from "../api/client";
import { cost, defaults, mebibytes, refuse, sizeText, startBody } from "./start";

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

test("cost", () => expect(cost(p)).toEqual({ machines: 2, cpus: 3, memory: 1024 }));
