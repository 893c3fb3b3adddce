import { expect, test } from "vitest";
import { grow, linksDown } from "./readings";

const reading = (cpuSeconds: number, second: number) => ({ machine: "m", cpuSeconds, memoryBytes: 5, memoryLimit: 10, at: `2026-01-01T00:00:0${second}.000Z` });

test("CPU is the time used between two readings", () => {
  expect(grow([], undefined, reading(1, 1), 7)).toEqual([]);
  expect(grow([], reading(1, 1), reading(2, 3), 7)).toEqual([{ at: 7, cpus: 0.5, memory: 5, limit: 10 }]);
  expect(grow([], reading(5, 1), reading(0, 3), 7)).toEqual([]); // restarted
  expect(grow([], reading(1, 1), reading(1, 1), 7)).toEqual([]); // the same reading again
});

test("links are down with their machine, and where the machine says so", () => {
  const machines = [{ name: "a", interfaces: [{ network: "n" }, { network: "o" }] }, { name: "b", interfaces: [{ network: "n" }] }];
  const statuses = new Map([["a", { name: "a", state: "RUNNING", conditions: [] }], ["b", { name: "b", state: "STOPPED", conditions: [] }]]);
  const usage = [{ ...reading(0, 1), machine: "a", links: [{ name: "eth0", up: true }, { name: "eth1", up: false }] }];
  expect([...linksDown(machines, statuses, usage)]).toEqual(["a/eth1", "b/eth0"]);
});
