// Where machines and networks stand in the picture; pure. Machines are a row of
// boxes; networks are bars above and below it, as long as they must be; every
// interface is a straight line from its machine's edge to its network's bar.

export type Interface = { network: string; address?: string };
export type MachineIn = { name: string; interfaces: Interface[] };
export type NetworkIn = { name: string; subnet?: string; private?: boolean };

export type Box = { name: string; x: number; y: number; width: number; height: number };
export type Bar = Box & { index: number; subnet?: string; private: boolean; above: boolean };
export type Line = { machine: string; network: string; eth: string; address?: string; x: number; from: number; to: number; index: number; above: boolean };
export type Drawing = { width: number; height: number; machines: Box[]; networks: Bar[]; lines: Line[] };

export const size = { machine: 172, height: 66, gap: 34, bar: 34, step: 62, reach: 70, margin: 12 };

export function layout(machines: MachineIn[], networks: NetworkIn[]): Drawing {
  const used = new Set(machines.flatMap((m) => m.interfaces.map((i) => i.network)));
  const shown = networks.filter((n) => used.has(n.name));
  // Alternating: the first network above, the second below, and so on outwards.
  const level = new Map(shown.map((n, i) => [n.name, { above: i % 2 === 0, rank: Math.floor(i / 2), index: networks.indexOf(n) }]));
  const above = shown.filter((_, i) => i % 2 === 0).length;
  const below = shown.length - above;
  const top = size.margin + (above > 0 ? size.reach + (above - 1) * size.step : 0);
  const left = size.margin;
  const boxes: Box[] = machines.map((m, i) => ({ name: m.name, x: left + i * (size.machine + size.gap), y: top, width: size.machine, height: size.height }));
  const barY = (place: { above: boolean; rank: number }) =>
    place.above ? top - size.reach - place.rank * size.step : top + size.height + size.reach - size.bar + place.rank * size.step;

  const lines: Line[] = [];
  machines.forEach((m, i) => {
    const box = boxes[i]!;
    for (const side of [true, false]) {
      const here = m.interfaces.map((face, n) => ({ face, n, place: level.get(face.network) })).filter((l) => l.place?.above === side);
      here.forEach(({ face, n, place }, k) => {
        const y = barY(place!);
        lines.push({
          machine: m.name, network: face.network, eth: `eth${n}`, address: face.address, index: place!.index, above: side,
          x: box.x + (box.width * (k + 1)) / (here.length + 1),
          from: side ? box.y : box.y + box.height,
          to: side ? y + size.bar : y,
        });
      });
    }
  });

  const bars: Bar[] = shown.map((n) => {
    const place = level.get(n.name)!;
    const ends = boxes.filter((b) => lines.some((l) => l.network === n.name && l.machine === b.name));
    const x = Math.min(...ends.map((b) => b.x));
    const end = Math.max(...ends.map((b) => b.x + b.width));
    return { name: n.name, subnet: n.subnet, private: Boolean(n.private), index: place.index, above: place.above, x, y: barY(place), width: end - x, height: size.bar };
  });

  const bottom = top + size.height + (below > 0 ? size.reach + (below - 1) * size.step : 0);
  const count = Math.max(1, machines.length);
  return {
    width: 2 * size.margin + count * size.machine + (count - 1) * size.gap,
    height: bottom + size.margin,
    machines: boxes, networks: bars, lines,
  };
}

/** The picture in words, for who does not see it. */
export function describe(machines: MachineIn[]): string {
  const list = machines.map((m) => {
    const on = m.interfaces.map((i) => (i.address ? `${i.network} as ${i.address}` : i.network));
    return `${m.name}${on.length ? ` on ${on.join(" and ")}` : " on no network"}`;
  });
  return list.join("; ");
}
