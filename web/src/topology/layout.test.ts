import { describe as group, expect, test } from "vitest";
import { type MachineIn, type NetworkIn, describe, layout, size } from "./layout";

const networks: NetworkIn[] = [{ name: "wan", subnet: "10.0.0.0/24" }, { name: "lan", private: true }, { name: "dmz" }, { name: "unused" }];
const machines: MachineIn[] = [
  { name: "router", interfaces: [{ network: "wan", address: "10.0.0.1" }, { network: "lan" }, { network: "dmz" }] },
  { name: "web", interfaces: [{ network: "dmz" }] },
  { name: "alone", interfaces: [] },
  { name: "pc", interfaces: [{ network: "lan" }] },
];

group("layout", () => {
  const d = layout(machines, networks);

  test("every interface ends at its machine and at its network", () => {
    expect(d.lines).toHaveLength(5);
    for (const l of d.lines) {
      const box = d.machines.find((m) => m.name === l.machine)!;
      const bar = d.networks.find((n) => n.name === l.network)!;
      expect(l.x).toBeGreaterThan(box.x);
      expect(l.x).toBeLessThan(box.x + box.width);
      expect(l.x).toBeGreaterThanOrEqual(bar.x);
      expect(l.x).toBeLessThanOrEqual(bar.x + bar.width);
      expect(l.from).toBe(bar.above ? box.y : box.y + box.height);
      expect(l.to).toBe(bar.above ? bar.y + bar.height : bar.y);
    }
  });

  test("nothing overlaps, and all is inside", () => {
    const all = [...d.machines, ...d.networks];
    for (const a of all) {
      expect(a.x).toBeGreaterThanOrEqual(0);
      expect(a.y).toBeGreaterThanOrEqual(0);
      expect(a.x + a.width).toBeLessThanOrEqual(d.width);
      expect(a.y + a.height).toBeLessThanOrEqual(d.height);
      for (const b of all) {
        if (a === b) continue;
        const apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
        expect(apart, `${a.name} and ${b.name}`).toBe(true);
      }
    }
  });

  test("interfaces keep their numbers, and networks that nobody is on are not drawn", () => {
    expect(d.lines.filter((l) => l.machine === "router").map((l) => `${l.network} ${l.eth}`).sort()).toEqual(["dmz eth2", "lan eth1", "wan eth0"]);
    expect(d.networks.map((n) => n.name)).toEqual(["wan", "lan", "dmz"]);
  });

  test("two interfaces on one network are two lines", () => {
    const two = layout([{ name: "m", interfaces: [{ network: "wan" }, { network: "wan" }] }], networks);
    expect(new Set(two.lines.map((l) => l.x)).size).toBe(2);
  });

  test("one machine without networks is as large as itself", () => {
    const one = layout([{ name: "m", interfaces: [] }], []);
    expect(one.width).toBe(size.machine + 2 * size.margin);
    expect(one.networks).toEqual([]);
  });
});

test("in words", () => {
  expect(describe(machines.slice(0, 1).concat(machines[2]!))).toBe("router on wan as 10.0.0.1 and lan and dmz; alone on no network");
});
