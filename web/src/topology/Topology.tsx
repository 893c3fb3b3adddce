// Machines and networks as a picture, with the state of each machine if it is
// known. The picture is also said in words.
import type { CSSProperties } from "react";
import { cx } from "../ui";
import { type MachineIn, type NetworkIn, describe, layout } from "./layout";
import css from "./topology.module.css";

export type MachineLook = {
  /** Under the name, like "2 CPU · 4 GiB" or "Debian 12". */
  about?: string;
  tone?: "ok" | "warn" | "bad" | "off";
  /** What the tone means, for screen readers. */
  state?: string;
};

type Props = {
  machines: MachineIn[];
  networks: NetworkIn[];
  looks?: Record<string, MachineLook>;
  /** Interfaces that are down, as "machine/eth0". */
  down?: Set<string>;
  selected?: string;
  onSelect?: (machine: string) => void;
};

const clip = (text: string, n: number) => (text.length > n ? text.slice(0, n - 1) + "…" : text);

export function Topology({ machines, networks, looks = {}, down, selected, onSelect }: Props) {
  const d = layout(machines, networks);
  return (
    <div className={css["scroll"]}>
      <svg
        className={css["picture"]}
        style={{ "--least": `${Math.round(d.width * 0.72)}px`, maxWidth: Math.round(d.width * 1.25) } as CSSProperties}
        viewBox={`0 0 ${d.width} ${d.height}`}
        role={onSelect ? "group" : "img"}
        aria-label={`Machines and networks: ${describe(machines)}`}
      >
        {d.lines.map((l) => (
          <g key={`${l.machine}/${l.eth}`} className={cx(css["line"], css[`n${l.index % 5}`], down?.has(`${l.machine}/${l.eth}`) && css["down"])} aria-hidden>
            <line x1={l.x} y1={l.from} x2={l.x} y2={l.to} />
            <circle cx={l.x} cy={l.from} r="4" />
            <text x={l.x + 7} y={l.above ? l.from - 8 : l.from + 16}>{clip(l.address ? l.address.split("/")[0]! : l.eth, 15)}</text>
          </g>
        ))}
        {d.networks.map((n) => (
          <g key={n.name} className={cx(css["network"], css[`n${n.index % 5}`])} aria-hidden>
            <rect x={n.x} y={n.y} width={n.width} height={n.height} rx="9" />
            <text x={n.x + 12} y={n.y + n.height / 2} className={css["name"]}>{clip(n.name, n.width > 200 ? 24 : 13)}</text>
            {n.width > 240 && <text x={n.x + n.width - 12} y={n.y + n.height / 2} className={css["subnet"]}>{n.subnet}{n.private ? " · private" : ""}</text>}
          </g>
        ))}
        {d.machines.map((m) => {
          const look = looks[m.name] ?? {};
          const press = onSelect && (() => onSelect(m.name));
          const cut = d.lines.filter((l) => l.machine === m.name && down?.has(`${m.name}/${l.eth}`)).map((l) => l.eth);
          return (
            <g
              key={m.name}
              className={cx(css["machine"], press && css["press"], selected === m.name && css["selected"])}
              {...(press
                ? {
                    role: "button", tabIndex: 0, "aria-pressed": selected === m.name, onClick: press,
                    "aria-label": [`${m.name} ${look.about ?? ""}`.trim(), look.state, cut.length > 0 && look.tone === "ok" && `${cut.join(" and ")} down`].filter(Boolean).join(", "),
                    onKeyDown: (e: React.KeyboardEvent) => {
                      if (e.key === "Enter" || e.key === " ") {
                        e.preventDefault();
                        press();
                      }
                    },
                  }
                : { "aria-hidden": true })}
            >
              <rect x={m.x} y={m.y} width={m.width} height={m.height} rx="11" />
              <g className={css["glyph"]} transform={`translate(${m.x + 14} ${m.y + m.height / 2 - 13})`}>
                <rect width="24" height="10" rx="2.5" />
                <rect y="15" width="24" height="10" rx="2.5" />
                <path d="M5 5h.1M5 20h.1M10 5h.1M10 20h.1" />
              </g>
              <text x={m.x + 50} y={m.y + (look.about ? 28 : 38)} className={css["title"]}>{clip(m.name, 13)}</text>{" "}
              {look.about && <text x={m.x + 50} y={m.y + 47} className={css["about"]}>{clip(look.about, 19)}</text>}
              {look.tone && <circle className={css[look.tone]} cx={m.x + m.width - 14} cy={m.y + 15} r="5" />}
            </g>
          );
        })}
      </svg>
    </div>
  );
}

/** What a playground or a play says, as the picture wants it. */
export function pictureOf(from: {
  machines?: { name: string; network?: { interfaces?: { network?: string; address?: string }[] | null } }[] | null;
  networks?: { name: string; subnet?: string; private?: boolean }[] | null;
}): { machines: MachineIn[]; networks: NetworkIn[] } {
  const networks = from.networks ?? [];
  return {
    networks,
    machines: (from.machines ?? []).map((m) => ({
      name: m.name,
      interfaces: (m.network?.interfaces ?? []).map((i) => ({ network: i.network ?? networks[0]?.name ?? "", address: i.address })),
    })),
  };
}
